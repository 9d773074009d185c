//! API, authentication and executor of the pipeline.
