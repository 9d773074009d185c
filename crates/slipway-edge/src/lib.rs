//! Reverse proxy: routes by generation, balancing, drain.
