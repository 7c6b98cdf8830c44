//! `add_kubernetes_metadata`: what the name of a container's log file says. The API of the cluster is not asked.

use serde_json::{Value, json};

use super::process::container::is_id;
use super::{Flow, Processor};
use crate::config::{Config, Mistake};
use crate::event::{Event, FieldPath};

/// What a path says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place<'a> {
    pod: &'a str,
    namespace: &'a str,
    container: &'a str,
    /// Of the pod.
    uid: Option<&'a str>,
    /// Of the container.
    id: Option<&'a str>,
}

impl<'a> Place<'a> {
    /// Reads the paths that the kubelet makes: links `…/containers/<pod>_<namespace>_<container>-<id>.log`, and what they
    /// lead to, `…/pods/<namespace>_<pod>_<uid>/<container>/<n>.log`, where rotated files lie, too.
    fn read(path: &'a str) -> Option<Place<'a>> {
        let mut parts = path.rsplit('/');
        let (file, folder) = (parts.next()?, parts.next()?);
        let place = if folder == "containers" {
            let name = file.strip_suffix(".log")?;
            let mut parts = name.splitn(3, '_');
            let (pod, namespace) = (parts.next()?, parts.next()?);
            let (container, id) = parts.next()?.rsplit_once('-')?;
            Place { pod, namespace, container, uid: None, id: Some(id).filter(|id| is_id(id)) }
        } else {
            let mut names = parts.next()?.splitn(3, '_');
            let (namespace, pod, uid) = (names.next()?, names.next()?, names.next()?);
            let number = file.split('.').next()?;
            if parts.next()? != "pods" || !number.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            Place { pod, namespace, container: folder, uid: Some(uid), id: None }
        };
        let is_link = place.uid.is_none();
        let names = [place.pod, place.namespace, place.container];
        // What follows the last dash of a link is the id, or it is no such link.
        (names.into_iter().all(is_name) && is_link == place.id.is_some()).then_some(place)
    }

    fn fields(&self) -> (Value, Option<Value>) {
        let mut pod = json!({"name": self.pod});
        if let Some(uid) = self.uid {
            pod["uid"] = json!(uid);
        }
        let kubernetes = json!({
            "pod": pod,
            "namespace": self.namespace,
            "container": {"name": self.container},
        });
        (kubernetes, self.id.map(|id| json!(id)))
    }
}

/// Names of Kubernetes: small letters, digits, dashes and dots.
fn is_name(text: &str) -> bool {
    let is_part = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    !text.is_empty() && text.len() <= 253 && text.bytes().all(is_part)
}

#[derive(Debug)]
struct AddKubernetes {
    path: FieldPath,
}

impl Processor for AddKubernetes {
    fn run(&self, event: &mut Event) -> Flow {
        let place = event.text(&self.path).and_then(Place::read);
        let Some((kubernetes, id)) = place.map(|place| place.fields()) else { return Flow::Keep };
        event.deep_merge(&FieldPath::top("kubernetes".to_owned()), kubernetes);
        if let Some(id) = id {
            event.put(&FieldPath::new("container.id"), id);
        }
        Flow::Keep
    }
}

/// What is said of the API of the cluster.
const OF_THE_API: [&str; 20] = [
    "add_resource_metadata",
    "annotations",
    "cleanup_timeout",
    "default_indexers",
    "default_matchers",
    "exclude_annotations",
    "exclude_labels",
    "host",
    "include_annotations",
    "include_labels",
    "indexers",
    "kube_client_options",
    "kube_config",
    "labels",
    "matchers",
    "namespace",
    "node",
    "scope",
    "sync_period",
    "use_kubeadm",
];

pub(super) fn build(config: &Config) -> Result<Box<dyn Processor>, Mistake> {
    config.allow(&OF_THE_API);
    Ok(Box::new(AddKubernetes { path: FieldPath::new("log.file.path") }))
}

#[cfg(test)]
mod tests {
    use super::super::tests::after;
    use super::*;
    use proptest::prelude::*;

    fn of(path: &str) -> Value {
        after(&json!([{"add_kubernetes_metadata": null}]), &json!({"log": {"file": {"path": path}}}))
    }

    #[test]
    fn the_name_of_the_file_says_whose_it_is() {
        let id = "0123456789abcdef".repeat(4);
        let event = of(&format!("/var/log/containers/web-7d4b-x2_shop_my-app-{id}.log"));
        let expected = json!({
            "pod": {"name": "web-7d4b-x2"}, "namespace": "shop", "container": {"name": "my-app"},
        });
        assert_eq!((&event["kubernetes"], &event["container"]["id"]), (&expected, &json!(id)));
        for file in ["0.log", "12.log.20260102-030405", "0.log.20260102-030405.gz"] {
            let event = of(&format!("/var/log/pods/shop_web-1_6f6e-42/my-app/{file}"));
            let expected = json!({
                "pod": {"name": "web-1", "uid": "6f6e-42"}, "namespace": "shop", "container": {"name": "my-app"},
            });
            assert_eq!((&event["kubernetes"], event.get("container")), (&expected, None), "{file}");
        }
    }

    #[test]
    fn other_files_say_nothing() {
        let id = "0".repeat(64);
        for path in [
            format!("/var/log/containers/web_shop-{id}.log"),
            format!("/var/log/containers/web_shop_app-{id}"),
            format!("/var/log/containers/we b_shop_app-{id}.log"),
            format!("/var/log/containers/__-{id}.log"),
            "/var/log/containers/web_shop_app-abc.log".to_owned(),
            "/var/log/pods/shop_web/app/0.log".to_owned(),
            "/var/log/pods/shop_web_1/app/x.log".to_owned(),
            "/var/log/shop_web_1/app/0.log".to_owned(),
            "/var/log/syslog".to_owned(),
            String::new(),
        ] {
            assert_eq!(of(&path), json!({"log": {"file": {"path": path}}}));
        }
    }

    proptest! {
        #[test]
        fn no_path_is_too_strange(path in "(/|containers/|pods/|[_a-z.é-]{0,3}|[0-9a-f]{64}|\\.log){0,9}") {
            of(&path);
        }
    }
}
