//! The table of routes: what each is called, who may use it, what it takes and answers.
//!
//! [`Routes::add`] is the only way to serve something here, and an [`Operation`] cannot be written down without
//! its right. The description for people and programs (`openapi`) is made of the same table.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::middleware;
use axum::routing::{MethodFilter, MethodRouter, on};
use fleet_access::rights::Right;
use http::Method;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::Management;
use super::gate::{Gate, pass};
use super::shape::Shape;

/// Makes the schema of a type.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Anybody at all.
    Open,
    /// Who has the right.
    Needs(Right),
}

/// One route with one method.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) method: Method,
    /// With `{name}` where something varies.
    pub(super) path: &'static str,
    pub(super) access: Access,
    /// One line for people.
    pub(super) summary: &'static str,
    /// Whether a grant on some policy is enough to come in: the handler narrows down what is seen and changed.
    pub(super) is_scoped: bool,
    /// Whether it changes something: then it is in the audit trail, and a browser must prove that it meant it.
    pub(super) changes: bool,
    /// Whether the handler bounds the body itself, because it does not read it into memory.
    pub(super) bounds_body: bool,
    /// Whether the body is something else than JSON.
    pub(super) takes_bytes: bool,
    pub(super) query: Vec<SchemaOf>,
    pub(super) body: Option<SchemaOf>,
    /// Fields of the body that are taken and ignored; see [`Shape`].
    pub(super) ignored: &'static [&'static str],
    pub(super) answer: Option<SchemaOf>,
    /// What kind of content the answer is.
    pub(super) media: &'static str,
    /// What else it may be, if that is asked for.
    pub(super) other_media: Option<&'static str>,
}

impl Operation {
    fn new(method: Method, path: &'static str, access: Access, summary: &'static str) -> Operation {
        let changes = method != Method::GET;
        Operation {
            method,
            path,
            access,
            summary,
            is_scoped: false,
            changes,
            bounds_body: false,
            takes_bytes: false,
            query: Vec::new(),
            body: None,
            ignored: &[],
            answer: None,
            media: "application/json",
            other_media: None,
        }
    }

    /// A grant on some policy is enough: the handler looks at each object.
    pub(super) fn scoped(self) -> Operation {
        Operation { is_scoped: true, ..self }
    }

    /// Nothing is changed, although the method is one that could.
    pub(super) fn reads(self) -> Operation {
        Operation { changes: false, ..self }
    }

    /// The handler bounds the body.
    pub(super) fn bounds_body(self) -> Operation {
        Operation { bounds_body: true, ..self }
    }

    /// The body is something else than JSON.
    pub(super) fn takes_bytes(self) -> Operation {
        Operation { takes_bytes: true, ..self }
    }

    /// Whether a body has nothing to say to it.
    pub(super) fn takes_no_body(&self) -> bool {
        self.method != Method::GET && self.body.is_none() && !self.bounds_body && !self.takes_bytes
    }

    /// What may stand behind the `?`. May be said several times: a handler can take several `Params`. (A type
    /// that flattens another would not do: then numbers stay texts.)
    pub(super) fn query<T: JsonSchema>(mut self) -> Operation {
        self.query.push(SchemaGenerator::subschema_for::<T>);
        self
    }

    /// What is sent.
    pub(super) fn body<T: JsonSchema>(self) -> Operation {
        Operation { body: Some(SchemaGenerator::subschema_for::<T>), ..self }
    }

    /// Fields of the body that clients send although they mean nothing here, and those that only the server sets:
    /// what `GET` gives, `PUT` takes. The body has no others than these and those of its type.
    pub(super) fn ignores(self, fields: &'static [&'static str]) -> Operation {
        Operation { ignored: fields, ..self }
    }

    /// What is answered.
    pub(super) fn answers<T: JsonSchema>(self) -> Operation {
        Operation { answer: Some(SchemaGenerator::subschema_for::<T>), ..self }
    }

    /// What kind of content is answered, if it is not JSON.
    pub(super) fn media(self, media: &'static str) -> Operation {
        Operation { media, ..self }
    }

    /// What kind of content is answered to whoever asks for it.
    pub(super) fn or_media(self, media: &'static str) -> Operation {
        Operation { other_media: Some(media), ..self }
    }
}

/// Reads.
pub(super) fn get(path: &'static str, right: Right, summary: &'static str) -> Operation {
    Operation::new(Method::GET, path, Access::Needs(right), summary)
}

/// Makes, or does.
pub(super) fn post(path: &'static str, right: Right, summary: &'static str) -> Operation {
    Operation::new(Method::POST, path, Access::Needs(right), summary)
}

/// Replaces.
pub(super) fn put(path: &'static str, right: Right, summary: &'static str) -> Operation {
    Operation::new(Method::PUT, path, Access::Needs(right), summary)
}

/// Removes.
pub(super) fn delete(path: &'static str, right: Right, summary: &'static str) -> Operation {
    Operation::new(Method::DELETE, path, Access::Needs(right), summary)
}

/// A route for anybody at all.
pub(super) fn open(method: Method, path: &'static str, summary: &'static str) -> Operation {
    Operation::new(method, path, Access::Open, summary)
}

/// The routes, and the table of them.
#[derive(Debug)]
pub(super) struct Routes {
    management: Management,
    router: Router<Management>,
    table: Vec<Arc<Operation>>,
}

impl Routes {
    /// None.
    pub(super) fn new(management: Management) -> Routes {
        Routes { management, router: Router::new(), table: Vec::new() }
    }

    /// Serves an operation.
    pub(super) fn add<H, T>(mut self, operation: Operation, handler: H) -> Routes
    where
        H: Handler<T, Management>,
        T: 'static,
    {
        let operation = Arc::new(operation);
        let filter = MethodFilter::try_from(operation.method.clone()).unwrap_or(MethodFilter::GET);
        let mut route: MethodRouter<Management> = on(filter, handler);
        if operation.bounds_body {
            route = route.layer(DefaultBodyLimit::disable());
        }
        let shape = operation.body.map(|schema| Arc::new(Shape::new(schema, operation.ignored)));
        let gate = Gate { management: self.management.clone(), operation: Arc::clone(&operation), shape };
        let route = route.route_layer(middleware::from_fn_with_state(Arc::new(gate), pass));
        self.router = self.router.route(operation.path, route);
        self.table.push(operation);
        self
    }

    /// Adds the routes of a group.
    pub(super) fn group(self, group: impl FnOnce(Routes) -> Routes) -> Routes {
        group(self)
    }

    /// What serves them, and the table.
    pub(super) fn finish(self) -> (Router<Management>, Vec<Arc<Operation>>) {
        (self.router, self.table)
    }
}
