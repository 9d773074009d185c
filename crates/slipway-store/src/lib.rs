//! The only SQL of the system: schema, migrations, queries.
