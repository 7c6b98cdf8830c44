//! What is handed out, and when.

use std::sync::Mutex;

use fleet_store::embedded::Embedded;

use super::*;

fn settings(action_id: &str) -> Action {
    let text =
        format!(r#"{{"action_id":"{action_id}","@timestamp":"2026-01-01T00:00:00Z","type":"SETTINGS"}}"#);
    serde_json::from_str(&text).unwrap()
}

struct Bench {
    _directory: tempfile::TempDir,
    store: Arc<dyn Store>,
    actions: Actions,
    told: Arc<Mutex<Vec<String>>>,
}

impl Bench {
    fn new() -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(Embedded::open(&directory.path().join("store")).unwrap());
        let told = Arc::new(Mutex::new(Vec::new()));
        let telling = Arc::clone(&told);
        let listener = move |action: &StoredAction| telling.lock().unwrap().push(action.document_id.clone());
        let actions = Actions::new(&store, Box::new(listener));
        Bench { _directory: directory, store, actions, told }
    }

    /// Stores an action for the agent. Returns its revision.
    async fn create(&self, id: &str) -> u64 {
        self.actions.create(id, settings(id), vec!["agent".to_owned()]).await.unwrap();
        self.actions.seq_no(id).await.unwrap().unwrap()
    }

    /// Takes in what a list shows, a page for each document.
    async fn page(&self, ids: &[&str]) -> Revision {
        let typed: Typed<Action> = Typed::new(Arc::clone(&self.store), &ACTIONS);
        let mut revision = Revision::ZERO;
        for id in ids {
            let listing = typed.list(Scope::Id((*id).to_owned())).await.unwrap();
            revision = listing.revision;
            ActionsView(&self.actions).page(listing).await.unwrap();
        }
        revision
    }

    fn due(&self) -> Vec<String> {
        let due = self.actions.due("agent", 0, |_| false, Timestamp::from_unix(0), 10);
        due.iter().map(|due| due.action.document_id.clone()).collect()
    }
}

#[tokio::test]
async fn what_is_not_known_yet_is_not_over() {
    let bench = Bench::new();
    let (first, second) = (bench.create("first").await, bench.create("second").await);
    let actions = &bench.actions;
    assert!(!actions.is_over(first) && !actions.is_over(second), "nothing is known here");
    // Whoever acknowledges it is answered; nobody is handed it before the first one.
    assert!(actions.find_of_agent("second", "agent").await.unwrap().is_some());
    assert!(actions.find_of_agent("second", "other").await.unwrap().is_none());
    assert!(bench.due().is_empty());
    bench.page(&["second"]).await;
    assert!(!actions.is_over(first), "its page may still come");
    ActionsView(actions).reached(Revision(second));
    assert!(actions.is_over(first), "everything of its time is known, and it is not there");
    assert!(!actions.is_over(second) && !actions.is_over(second + 1));
}

#[tokio::test]
async fn no_action_is_handed_out_before_an_older_one() {
    let bench = Bench::new();
    let view = ActionsView(&bench.actions);
    bench.create("m-known").await;
    let known = bench.page(&["m-known"]).await;
    view.reached(known);
    // The list is read again, in the order of ids, which is not that of the actions.
    bench.create("z-older").await;
    bench.create("a-newer").await;
    bench.page(&["a-newer", "m-known"]).await;
    assert_eq!(bench.due(), ["m-known"], "its token would take z-older from the agent");
    let listed = bench.page(&["z-older"]).await;
    assert_eq!(bench.due(), ["m-known"]);
    view.reached(listed);
    assert_eq!(bench.due(), ["m-known", "z-older", "a-newer"]);
    assert_eq!(*bench.told.lock().unwrap(), ["m-known", "z-older", "a-newer"], "each wakes its agents once");
}
