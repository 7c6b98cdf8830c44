//! A management API as the client sees it: objects that are listed in pages, created, saved and deleted, each with
//! a revision that a save must name. What a test wants otherwise, it says in [`Api::next`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::http::{Answer, Request, Server};

/// The objects of one server. Shared with the server that serves them.
#[derive(Clone, Default)]
pub(crate) struct Api(Arc<Mutex<State>>);

type Hook = Box<dyn FnMut(&Api, &Request) -> Option<Answer> + Send>;

#[derive(Default)]
struct State {
    /// By path below `/api/fleet/` and id.
    objects: BTreeMap<String, BTreeMap<String, Value>>,
    /// Answers to the next requests, whatever they are.
    next: VecDeque<Answer>,
    hook: Option<Hook>,
    /// Whether lists are followed by a cursor instead of page numbers.
    has_cursor: bool,
    made: usize,
}

/// The field that names an object.
fn id_field(path: &str) -> &'static str {
    match path {
        "users" => "username",
        "epm/packages" => "name",
        "agents/action_status" => "actionId",
        _ => "id",
    }
}

pub(crate) fn refused(status: u16, message: &str) -> Answer {
    Answer::json(status, &json!({"statusCode": status, "error": "Error", "message": message}))
}

impl Api {
    /// Adds an object of the list at `path`.
    pub(crate) fn add(&self, path: &str, object: Value) {
        let id = object[id_field(path)].as_str().unwrap().to_owned();
        self.0.lock().unwrap().objects.entry(path.to_owned()).or_default().insert(id, object);
    }

    pub(crate) fn object(&self, path: &str, id: &str) -> Option<Value> {
        self.0.lock().unwrap().objects.get(path)?.get(id).cloned()
    }

    /// Changes an object behind the client's back.
    pub(crate) fn change(&self, path: &str, id: &str, change: impl FnOnce(&mut Value)) {
        let mut state = self.0.lock().unwrap();
        change(state.objects.get_mut(path).unwrap().get_mut(id).unwrap());
    }

    /// What the next requests are told, in their order.
    pub(crate) fn next(&self, answers: impl IntoIterator<Item = Answer>) {
        self.0.lock().unwrap().next.extend(answers);
    }

    /// Sees every request first, and may answer it.
    pub(crate) fn hook(&self, hook: impl FnMut(&Api, &Request) -> Option<Answer> + Send + 'static) {
        self.0.lock().unwrap().hook = Some(Box::new(hook));
    }

    pub(crate) fn with_cursor(self) -> Api {
        self.0.lock().unwrap().has_cursor = true;
        self
    }

    pub(crate) async fn serve(&self) -> Server {
        let api = self.clone();
        Server::start(move |request| api.answer(request)).await
    }

    fn answer(&self, request: &Request) -> Answer {
        if let Some(answer) = self.0.lock().unwrap().next.pop_front() {
            return answer;
        }
        let hook = self.0.lock().unwrap().hook.take();
        if let Some(mut hook) = hook {
            let answer = hook(self, request);
            self.0.lock().unwrap().hook.get_or_insert(hook);
            if let Some(answer) = answer {
                return answer;
            }
        }
        if request.path == "/api/status" {
            return Answer::json(200, &json!({"name": "fleet", "version": {"number": "9.6.0"}}));
        }
        let Some(path) = request.path.strip_prefix("/api/fleet/") else { return refused(404, "Not Found") };
        let mut state = self.0.lock().unwrap();
        state.answer(request, path)
    }
}

impl State {
    fn answer(&mut self, request: &Request, path: &str) -> Answer {
        let method = request.method.as_str();
        if method == "POST" && path == "agent_policies/delete" {
            let id = request.json()["agentPolicyId"].as_str().unwrap_or_default().to_owned();
            return self.delete("agent_policies", &id);
        }
        if self.objects.contains_key(path) {
            return match method {
                "GET" => self.list(path, request),
                "POST" => self.create(path, request.json()),
                _ => refused(405, "Method Not Allowed"),
            };
        }
        let Some((list, id)) = path.rsplit_once('/').filter(|(list, _)| self.objects.contains_key(*list))
        else {
            return refused(404, "Not Found");
        };
        match method {
            "GET" => match self.objects[list].get(id) {
                Some(object) => Answer::json(200, &json!({"item": object})),
                None => refused(404, &format!("{list} {id} not found")),
            },
            "PUT" => self.save(list, id, &request.json()),
            "DELETE" => self.delete(list, id),
            _ => refused(405, "Method Not Allowed"),
        }
    }

    fn list(&self, path: &str, request: &Request) -> Answer {
        let kuery = request.parameter("kuery").unwrap_or("*");
        let fitting: Vec<&Value> =
            self.objects[path].values().filter(|object| matches(object, kuery)).collect();
        let number =
            |name: &str, or: usize| request.parameter(name).map_or(or, |text| text.parse::<usize>().unwrap());
        // The pages of actions count from 0, as in the original.
        let first = usize::from(path != "agents/action_status");
        let (page, size) = (number("page", first), number("perPage", 20));
        let from =
            request.parameter("cursor").map_or((page - first) * size, |cursor| cursor.parse().unwrap());
        let items: Vec<&Value> = fitting.iter().skip(from).take(size).copied().collect();
        let mut answer = json!({"items": items, "total": fitting.len(), "page": page, "perPage": size});
        if self.has_cursor && from + size < fitting.len() {
            answer["nextCursor"] = (from + size).to_string().into();
        }
        Answer::json(200, &answer)
    }

    fn create(&mut self, path: &str, mut object: Value) -> Answer {
        let field = id_field(path);
        self.made += 1;
        if object[field].is_null() {
            object[field] = format!("made-{}", self.made).into();
        }
        let id = object[field].as_str().unwrap().to_owned();
        if self.objects[path].contains_key(&id) {
            return refused(409, &format!("{path} {id} exists already"));
        }
        object["revision"] = 1.into();
        object["updated_by"] = "me".into();
        self.objects.get_mut(path).unwrap().insert(id, object.clone());
        Answer::json(200, &json!({"item": object}))
    }

    fn save(&mut self, list: &str, id: &str, body: &Value) -> Answer {
        let Some(object) = self.objects.get_mut(list).and_then(|objects| objects.get_mut(id)) else {
            return refused(404, &format!("{list} {id} not found"));
        };
        if body.get("revision").is_some_and(|base| *base != object["revision"]) {
            return refused(409, "it was changed by somebody else meanwhile");
        }
        for (field, value) in body.as_object().unwrap() {
            if value.is_null() {
                object.as_object_mut().unwrap().remove(field);
            } else {
                object[field] = value.clone();
            }
        }
        object["revision"] = (object["revision"].as_u64().unwrap_or(0) + 1).into();
        Answer::json(200, &json!({"item": object}))
    }

    fn delete(&mut self, list: &str, id: &str) -> Answer {
        match self.objects.get_mut(list).and_then(|objects| objects.remove(id)) {
            Some(_) => Answer::json(200, &json!({"id": id})),
            None => refused(404, &format!("{list} {id} not found")),
        }
    }
}

/// `*`, or `field:"value"` terms joined by `and`.
fn matches(object: &Value, kuery: &str) -> bool {
    kuery == "*"
        || kuery.split(" and ").all(|term| {
            let (field, value) = term.trim_matches(['(', ')']).split_once(':').unwrap();
            let value = value.trim_matches('"');
            let pointer = match field {
                "policy_revision_idx" => "/policy_revision".to_owned(),
                _ => format!("/{}", field.replace('.', "/")),
            };
            match object.pointer(&pointer) {
                Some(Value::Array(items)) => items.iter().any(|item| item == value),
                Some(Value::String(text)) => text == value,
                Some(other) => *other.to_string() == *value,
                None => false,
            }
        })
}
