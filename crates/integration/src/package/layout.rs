//! What can be set up with a package, in one shape for all types of package.

use std::collections::{HashMap, HashSet};

use super::{
    Package, PackageError, PackageType, PolicyTemplate, SelectOption, StreamElasticsearch, VarType, Variable,
};

/// The variable of input packages that says where their data goes.
pub const DATASET_VAR: &str = "data_stream.dataset";
/// The variable of input packages that says what their data is.
pub const TYPE_VAR: &str = "data_stream.type";

/// An input of a policy template.
#[derive(Debug, Clone, PartialEq)]
pub struct LayoutInput {
    /// The name of the policy template.
    pub policy_template: String,
    /// The input's type.
    pub kind: String,
    /// For people.
    pub title: String,
    /// For people.
    pub description: String,
    /// Of the policy template and the input.
    pub vars: Vec<Variable>,
    /// Below the package's folder; `None` where there is nothing beside the streams.
    pub template: Option<String>,
    /// What it fills.
    pub streams: Vec<LayoutStream>,
    /// The first stream of each type, by dataset: an input may have thousands.
    by_dataset: HashMap<String, Vec<usize>>,
}

/// A stream of an input.
#[derive(Debug, Clone, PartialEq)]
pub struct LayoutStream {
    /// The data stream's type, as `logs`.
    pub kind: String,
    /// The data stream's dataset, as the package has it.
    pub dataset: String,
    /// For people.
    pub title: String,
    /// For people.
    pub description: String,
    /// Whether it is on where nobody says otherwise.
    pub enabled: bool,
    /// Whether data streams begin with the dataset.
    pub dataset_is_prefix: bool,
    /// How far the data stream is.
    pub release: Option<String>,
    /// What the data stream asks of the engine.
    pub elasticsearch: StreamElasticsearch,
    /// What people set.
    pub vars: Vec<Variable>,
    /// Below the package's folder.
    pub template: String,
}

impl LayoutStream {
    /// The folder of its data stream in the package; empty in an input package.
    #[must_use]
    pub fn folder(&self) -> &str {
        let below = self.template.strip_prefix("data_stream/");
        below.and_then(|path| path.split_once('/')).map_or("", |(folder, _)| folder)
    }
}

impl LayoutInput {
    /// What it is called in the simplified shape.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}-{}", self.policy_template, self.kind)
    }

    /// The streams of a dataset: logs and metrics of one dataset are two.
    pub(crate) fn of_dataset(&self, dataset: &str) -> impl Iterator<Item = (usize, &LayoutStream)> {
        let found = self.by_dataset.get(dataset).into_iter().flatten();
        found.filter_map(|index| Some((*index, self.streams.get(*index)?)))
    }

    fn indexed(mut self) -> LayoutInput {
        for (index, stream) in self.streams.iter().enumerate() {
            let known = self.by_dataset.entry(stream.dataset.clone()).or_default();
            let is_same = |other: &usize| self.streams[*other].kind == stream.kind;
            if !known.iter().any(is_same) {
                known.push(index);
            }
        }
        self
    }

    /// Whether it is on where nobody says otherwise.
    #[must_use]
    pub fn enabled(&self) -> bool {
        self.streams.is_empty() || self.streams.iter().any(|stream| stream.enabled)
    }
}

/// Where the inputs of a package are, by what policies call them.
#[derive(Debug, Clone, Default)]
pub(super) struct LayoutIndex {
    by_key: HashMap<String, usize>,
    by_kind: HashMap<String, OfKind>,
}

/// The inputs of one type.
#[derive(Debug, Clone, Default)]
struct OfKind {
    first: usize,
    by_template: HashMap<String, usize>,
}

impl LayoutIndex {
    pub(super) fn of(layout: &[LayoutInput]) -> LayoutIndex {
        let mut all = LayoutIndex::default();
        for (index, input) in layout.iter().enumerate() {
            all.by_key.entry(input.key()).or_insert(index);
            let of_kind = all
                .by_kind
                .entry(input.kind.clone())
                .or_insert_with(|| OfKind { first: index, by_template: HashMap::new() });
            of_kind.by_template.entry(input.policy_template.clone()).or_insert(index);
        }
        all
    }

    /// In the simplified shape.
    pub(super) fn by_key(&self, key: &str) -> Option<usize> {
        self.by_key.get(key).copied()
    }

    /// By type and policy template; the first one of the type where no template is named.
    pub(super) fn find(&self, kind: &str, template: Option<&str>) -> Option<usize> {
        let of_kind = self.by_kind.get(kind)?;
        match template {
            Some(template) => of_kind.by_template.get(template).copied(),
            None => Some(of_kind.first),
        }
    }

    /// How many inputs are of a type.
    pub(super) fn count(&self, kind: &str) -> usize {
        self.by_kind.get(kind).map_or(0, |of_kind| of_kind.by_template.len())
    }
}

/// The most inputs, streams and variables, what several policy templates share counted for each.
const MOST: usize = 200_000;

pub(super) fn lay_out(package: &Package) -> Result<Vec<LayoutInput>, PackageError> {
    let (mut all, mut known, mut count) = (Vec::new(), HashSet::new(), 0);
    for template in &package.policy_templates {
        let of_integration =
            (package.kind == PackageType::Integration).then(|| integration(package, template));
        let of_input =
            (package.kind == PackageType::Input).then(|| input_package(package, template)).flatten();
        // One after the other: what is too much is never there.
        for input in of_integration.into_iter().flatten().chain(of_input) {
            count += 1 + input.vars.len();
            count += input.streams.iter().map(|stream| 1 + stream.vars.len()).sum::<usize>();
            if count > MOST {
                return Err(PackageError::TooLarge { most: MOST });
            }
            // A key that is there twice could not be told apart: the first counts.
            if known.insert((input.policy_template.clone(), input.kind.clone())) {
                all.push(input.indexed());
            }
        }
    }
    Ok(all)
}

fn integration<'a>(
    package: &'a Package,
    template: &'a PolicyTemplate,
) -> impl Iterator<Item = LayoutInput> + 'a {
    let build = move |input: &super::Input| {
        let mut vars = template.vars.clone();
        vars.retain(|var| !input.vars.iter().any(|own| own.name == var.name));
        vars.extend(input.vars.iter().cloned());
        LayoutInput {
            policy_template: template.name.clone(),
            kind: input.kind.clone(),
            title: input.title.clone(),
            description: input.description.clone(),
            vars,
            template: input.template_path.as_ref().map(|path| format!("agent/input/{path}")),
            streams: streams(package, template, &input.kind),
            by_dataset: HashMap::new(),
        }
    };
    template.inputs.iter().map(build)
}

fn streams(package: &Package, template: &PolicyTemplate, kind: &str) -> Vec<LayoutStream> {
    let named: HashSet<&String> = template.data_streams.iter().collect();
    let belongs = |path: &String| named.is_empty() || named.contains(path);
    let mut all = Vec::new();
    for data_stream in package.data_streams.iter().filter(|data_stream| belongs(&data_stream.path)) {
        // One dataset is one stream of an input.
        let Some(stream) = data_stream.streams.iter().find(|stream| stream.input == kind) else { continue };
        all.push(LayoutStream {
            kind: data_stream.kind.clone(),
            dataset: data_stream.dataset.clone(),
            title: stream.title.clone(),
            description: stream.description.clone(),
            enabled: stream.enabled,
            dataset_is_prefix: data_stream.dataset_is_prefix,
            release: data_stream.release.clone(),
            elasticsearch: data_stream.elasticsearch.clone(),
            vars: stream.vars.clone(),
            template: format!("data_stream/{}/agent/stream/{}", data_stream.path, stream.template_path),
        });
    }
    all
}

fn input_package(package: &Package, template: &PolicyTemplate) -> Option<LayoutInput> {
    let kind = template.input.clone()?;
    let dataset = format!("{}.{}", package.name, template.name);
    let mut vars = template.vars.clone();
    if !vars.iter().any(|var| var.name == DATASET_VAR) {
        vars.push(dataset_variable(&dataset));
    }
    let stream = LayoutStream {
        kind: template.kind.clone().unwrap_or_else(|| "logs".to_owned()),
        dataset,
        title: template.title.clone(),
        description: template.description.clone(),
        enabled: true,
        dataset_is_prefix: false,
        release: None,
        elasticsearch: StreamElasticsearch::default(),
        vars,
        template: format!("agent/input/{}", template.template_path.as_deref().unwrap_or("input.yml.hbs")),
    };
    Some(LayoutInput {
        policy_template: template.name.clone(),
        kind,
        title: template.title.clone(),
        description: template.description.clone(),
        vars: Vec::new(),
        template: None,
        streams: vec![stream],
        by_dataset: HashMap::new(),
    })
}

fn dataset_variable(dataset: &str) -> Variable {
    Variable {
        name: DATASET_VAR.to_owned(),
        kind: VarType::Text,
        title: "Dataset name".to_owned(),
        description: "The dataset that the data goes to: lower-case letters, digits, _ and .".to_owned(),
        multi: false,
        required: true,
        show_user: true,
        default: Some(dataset.into()),
        options: Vec::<SelectOption>::new(),
        secret: false,
        min_duration: None,
        max_duration: None,
        url_allowed_schemes: Vec::new(),
        hide_in_deployment_modes: Vec::new(),
        migrate_from: None,
    }
}
