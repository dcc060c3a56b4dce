//! Each path is a key, asked for by itself.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use tokio::sync::mpsc;
use tracing::warn;

use super::Answer;
use crate::consul::{Consuls, Query, keys};
use crate::engine::consul::ConsulAccess;

/// Runs until nobody listens.
pub(super) async fn ask(
    consuls: &Consuls,
    access: &ConsulAccess,
    folder: &str,
    paths: &BTreeSet<String>,
    answers: &mpsc::Sender<Answer>,
) {
    let one = async |path: &String| {
        let mut follow = consuls.follow(access, Query::key(&format!("{folder}/{path}"), access.dc.clone()));
        let mut told = None;
        loop {
            let answer = follow.next().await;
            let value = answer.and_then(|answer| match answer.body {
                None => Ok(None),
                Some(body) => Ok(keys(&body)?.pop().map(|key| key.value)),
            });
            match value {
                Ok(value) => {
                    told = None;
                    if answers.send((path.clone(), value)).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    let reason = error.to_string();
                    if told.as_ref() != Some(&reason) {
                        warn!(
                            path,
                            reason, "a value can't be read from Consul; trying on, the last one stays"
                        );
                        told = Some(reason);
                    }
                }
            }
        }
    };
    join_all(paths.iter().map(one)).await;
}
