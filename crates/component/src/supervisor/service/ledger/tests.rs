use tempfile::TempDir;

use super::*;
use crate::supervisor::spec::Operation;

fn remembered() -> (TempDir, PathBuf) {
    let home = tempfile::tempdir().expect("a directory");
    let named = Named { id: "a/b".to_owned(), kind: "k".to_owned() };
    let uninstall = OperationSpec { args: vec!["remove".to_owned()], ..OperationSpec::default() };
    let operations = Operations { uninstall: Some(uninstall), ..Operations::default() };
    let spec = ServiceSpec { csocket: "x.sock".to_owned(), operations, ..ServiceSpec::default() };
    let program = Program {
        name: "x".to_owned(),
        binary: "/opt/x".into(),
        run: Run::Service(spec.clone()),
        proxied_actions: Vec::new(),
    };
    remember(home.path(), &named, &program, &spec).expect("a record");
    let path = path(home.path(), &named.id);
    (home, path)
}

#[test]
fn a_service_is_known_until_it_is_forgotten() {
    let (home, path) = remembered();
    assert_eq!(fs::metadata(&path).expect("a record").permissions().mode() & 0o777, 0o600);
    let found = left_behind(home.path());
    let [component] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((component.id.as_str(), component.kind.as_str(), component.units.len()), ("a/b", "k", 0));
    let program = component.program.as_ref().expect("a program");
    assert_eq!(program.binary, Path::new("/opt/x"));
    let Run::Service(spec) = &program.run else { panic!("{program:?}") };
    assert!(spec.operations.get(Operation::Uninstall).is_some_and(|it| it.args == ["remove"]));
    assert_eq!((spec.operations.get(Operation::Install), spec.socket()), (None, "x.sock"));
    forget(home.path(), "a/b");
    assert!(left_behind(home.path()).is_empty());
}

#[test]
fn what_others_can_have_written_is_not_run() {
    let (home, path) = remembered();
    for mode in [0o620, 0o602] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
        assert!(left_behind(home.path()).is_empty(), "{mode:o}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("a mode");
    assert_eq!(left_behind(home.path()).len(), 1);
}

#[test]
fn what_is_no_record_is_left_out() {
    let (home, path) = remembered();
    fs::write(path.with_file_name("broken.json"), "{").expect("a file");
    fs::write(path.with_file_name("other.txt"), "{").expect("a file");
    assert_eq!(left_behind(home.path()).len(), 1);
    assert!(left_behind(&home.path().join("nowhere")).is_empty());
}

#[test]
fn a_pipe_holds_nobody_up() {
    let (home, path) = remembered();
    let pipe = path.with_file_name("pipe.json");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a pipe");
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || tell.send(left_behind(home.path()).len()));
    assert_eq!(told.recv_timeout(std::time::Duration::from_secs(10)), Ok(1));
}
