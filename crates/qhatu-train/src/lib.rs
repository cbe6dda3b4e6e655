//! From the lake to a judged artifact.
