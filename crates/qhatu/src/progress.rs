//! What happens meanwhile, on standard error: a bar with the time left on a terminal, a line per
//! stage elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// One stage of a command.
pub(crate) struct Stage {
    bar: ProgressBar,
    name: String,
    start: Instant,
    terminal: bool,
}

impl Stage {
    /// Begins a stage of `total` steps; 0 where nobody knows how many.
    pub(crate) fn begin(name: &str, total: u64) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(
            (total > 0).then_some(total),
            if terminal { ProgressDrawTarget::stderr_with_hz(8) } else { ProgressDrawTarget::hidden() },
        );
        bar.set_style(style(total > 0));
        bar.set_prefix(name.to_owned());
        bar.enable_steady_tick(Duration::from_millis(250));
        Self { bar, name: name.to_owned(), start: Instant::now(), terminal }
    }

    /// `done` of `total` steps are done.
    pub(crate) fn at(&self, done: u64, total: u64) {
        if total > 0 && self.bar.length() != Some(total) {
            self.bar.set_length(total);
            self.bar.set_style(style(true));
        }
        self.bar.set_position(done);
    }

    /// Says what is being done just now.
    pub(crate) fn say(&self, text: &str) {
        self.bar.set_message(text.to_owned());
    }

    /// Ends the stage with a line of what came of it.
    #[expect(clippy::print_stderr, reason = "standard error is where progress goes")]
    pub(crate) fn end(self, outcome: &str) {
        self.bar.finish_and_clear();
        let seconds = self.start.elapsed().as_secs_f64();
        let mark = if self.terminal { "✓" } else { "-" };
        eprintln!("{mark} {:<10} {outcome} ({seconds:.1} s)", self.name);
    }
}

fn style(known: bool) -> ProgressStyle {
    let template = if known {
        "{prefix:10} [{bar:32}] {percent:>3} %  {eta} left  {msg}"
    } else {
        "{prefix:10} {spinner} {elapsed}  {msg}"
    };
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸ ")
}
