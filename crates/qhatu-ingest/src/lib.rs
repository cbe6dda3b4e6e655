//! How events come in: sources, decoding, cleaning, quarantine.
