//! Supervisor of one host: build workers, replicas, health.
