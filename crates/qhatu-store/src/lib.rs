//! Where things are kept: event log, lake, documents, tables.
