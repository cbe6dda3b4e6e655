//! Answers over HTTP: events in, recommendations out, the console.
