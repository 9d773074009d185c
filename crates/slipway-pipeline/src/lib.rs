//! Decisions of a deployment: a pure state machine.
