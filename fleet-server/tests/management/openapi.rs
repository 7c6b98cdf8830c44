//! The description of the API, and the page that shows it.

use crate::client::Client;
use crate::server::Server;

#[tokio::test]
async fn the_description_is_whole_and_its_page_runs_nothing_else() {
    let server = Server::start(&[]);
    let anybody = Client::anonymous(&server);
    let described = anybody.get("/api/fleet/openapi.json").await.ok();
    let mut ids = std::collections::BTreeSet::new();
    for (path, methods) in described["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} is the name of two operations");
            assert!(
                operation["summary"].is_string() && operation["responses"]["default"].is_object(),
                "{id}"
            );
            let names: Vec<&str> = path.split('/').filter_map(|part| part.strip_prefix('{')).collect();
            for name in names {
                let name = name.trim_end_matches('}');
                let mut parameters = operation["parameters"].as_array().unwrap().iter();
                let is_there =
                    parameters.any(|parameter| parameter["in"] == "path" && parameter["name"] == name);
                assert!(is_there, "{method} {path}: {name}");
            }
        }
    }
    assert!(ids.contains("get-events-list") && ids.contains("post-webhooks-id-test"), "{ids:?}");

    let page = anybody.get("/api/fleet/docs").await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (200, "text/html; charset=utf-8"));
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert!(page.text.contains("<script>\"use strict\";"));
}
