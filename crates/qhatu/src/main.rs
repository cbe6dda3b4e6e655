//! The one program: a file per subcommand, the configuration.

fn main() {}
