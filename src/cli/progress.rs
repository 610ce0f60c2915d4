//! What a user sees while a run goes on: a bar on a terminal, log lines elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tracing_subscriber::EnvFilter;

use crate::telemetry::{Progress, STAGES};

/// Log lines go to stderr; on a terminal only warnings, as the bar says the rest.
pub fn start_logging(json: bool, on_terminal: bool) {
    let level = if on_terminal && !json { "warn" } else { "info" };
    let logs = tracing_subscriber::fmt()
        // `NICHEMINE_LOG=debug` tells the steps of counting too.
        .with_env_filter(EnvFilter::try_from_env("NICHEMINE_LOG").unwrap_or_else(|_| EnvFilter::new(level)))
        .with_target(false)
        .with_ansi(on_terminal)
        // It would say on stderr that stderr is closed, and panic.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    // A second call, in a test that calls commands itself, keeps the first one's format.
    let _ = if json { logs.json().try_init() } else { logs.try_init() };
}

/// A bar that follows a run from a thread of its own, until it is dropped.
pub struct Bar {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Bar {
    /// `rows` is how many the table has, if that is known; `share` is this process's part of the workers.
    pub fn start(progress: Arc<Progress>, rows: Option<u64>, share: f64) -> Bar {
        let over = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let bar = ProgressBar::new(0);
            let mut shown = None;
            while !stop.load(Ordering::Relaxed) {
                let stage = progress.stage.load(Ordering::Relaxed);
                let level = (0..progress.levels.len()).rfind(|&i| progress.levels[i][1].load(Ordering::Relaxed) > 0);
                let now = (stage, if STAGES.get(stage) == Some(&"enumerate") { level } else { None });
                if shown != Some(now) {
                    shown = Some(now);
                    restart(&bar, now, rows.map(|rows| (rows as f64 * share) as u64));
                }
                match now {
                    (0, _) => bar.set_position(progress.rows.load(Ordering::Relaxed)),
                    (_, Some(level)) => {
                        let [done, planned] = &progress.levels[level];
                        bar.set_length(planned.load(Ordering::Relaxed));
                        bar.set_position(done.load(Ordering::Relaxed));
                    }
                    _ => bar.tick(),
                }
                std::thread::park_timeout(Duration::from_millis(100));
            }
            bar.finish_and_clear();
        });
        Bar { over, thread: Some(thread) }
    }
}

fn restart(bar: &ProgressBar, (stage, level): (usize, Option<usize>), rows: Option<u64>) {
    let name = STAGES.get(stage).copied().unwrap_or("sink");
    let step = format!("[{}/{}]", stage.min(STAGES.len() - 1) + 1, STAGES.len());
    let message = level.map_or(format!("{step} {name}"), |level| format!("{step} {name} level {}", level + 1));
    let counted = "{msg:28} {bar:30} {human_pos}/{human_len} {prefix} {elapsed_precise} left {eta}";
    let template = match (stage, level, rows) {
        (0, _, Some(_)) | (_, Some(_), _) => counted,
        (0, _, None) => "{msg:28} {spinner} {human_pos} {prefix} {elapsed_precise}",
        _ => "{msg:28} {spinner} {elapsed_precise}",
    };
    bar.reset();
    bar.set_style(ProgressStyle::with_template(template).expect("the templates above are well formed"));
    bar.set_message(message);
    bar.set_prefix(if level.is_some() { "passes" } else { "rows" });
    bar.set_length(rows.unwrap_or(0));
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // The thread only draws; if it panicked there is nothing more to show.
            let _ = thread.join();
        }
    }
}
