//! Tells of each panic in the log, and counts it.
//!
//! The hook is the process's (`std::panic::set_hook`), so what it counts is, too: a static. It sees every panic, also those in
//! threads and in tasks of libraries, which nobody here can catch.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::PanicHookInfo;
use std::sync::{Mutex, PoisonError};

use tracing::error;

use super::text;

/// Where no task is named: another thread, or a library's own task.
const ELSEWHERE: &str = "other";

static COUNTS: Mutex<BTreeMap<&'static str, u64>> = Mutex::new(BTreeMap::new());

thread_local! {
    static TASK: Cell<&'static str> = const { Cell::new(ELSEWHERE) };
}

/// From now on panics are told in the log instead of on stderr. Call it once the log is there.
pub fn install() {
    std::panic::set_hook(Box::new(tell));
}

/// How many panics there were so far, by the name of the task.
pub fn counts() -> BTreeMap<&'static str, u64> {
    COUNTS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// A panic of this thread is put down to `task` until the value is dropped.
pub(super) fn name(task: &'static str) -> Named {
    Named { before: TASK.replace(task) }
}

pub(super) struct Named {
    before: &'static str,
}

impl Drop for Named {
    fn drop(&mut self) {
        TASK.set(self.before);
    }
}

/// A panic in here would abort the process, so it does as little as can be.
fn tell(info: &PanicHookInfo<'_>) {
    let task = TASK.get();
    let panics = {
        let mut counts = COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
        let panics = counts.entry(task).or_default();
        *panics = panics.saturating_add(1);
        *panics
    };
    let at = info.location().map(|at| format!("{}:{}", at.file(), at.line())).unwrap_or_default();
    error!(
        task,
        panics,
        at,
        said = text(info.payload()),
        "a part of ProxyMgr panicked, which is a defect: please report it"
    );
}

#[cfg(test)]
mod tests {
    use super::super::caught;
    use super::*;

    #[tokio::test]
    async fn a_panic_is_put_down_to_its_innermost_task() {
        let before = std::panic::take_hook();
        install();
        let inner = async {
            let inner = caught("inner of a test", async { panic!("in") }).await;
            assert!(inner.is_err());
            tokio::task::yield_now().await;
            panic!("out");
        };
        let outer: Result<(), _> = caught("outer of a test", inner).await;
        let thread = std::thread::spawn(|| panic!("far"));
        assert!(outer.is_err() && thread.join().is_err());
        std::panic::set_hook(before);
        let counts = counts();
        assert_eq!((counts["inner of a test"], counts["outer of a test"]), (1, 1), "{counts:?}");
        assert!(counts[ELSEWHERE] >= 1, "{counts:?}");
    }
}
