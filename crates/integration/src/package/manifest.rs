//! The package's own `manifest.yml`.

use std::collections::BTreeMap;

use super::layout::LayoutIndex;
use super::reader::{Files, Section};
use super::{Conditions, Input, Package, PackageError, PackageType, PolicyTemplate, changelog, variable};

/// The longest name of a package, in bytes.
const LONGEST_NAME: usize = 256;

/// Reads everything but data streams and templates.
pub(super) fn read(files: &mut Files<'_>) -> Result<Package, PackageError> {
    let file = "manifest.yml";
    let manifest = files.open(file)?.ok_or_else(|| PackageError::Missing { file: file.to_owned() })?;
    let section = manifest.section()?;
    let (name, version) = (name(&section)?, version(&section)?);
    let path = format!("/package/{name}/{version}");
    let kind = match section.text("type").as_deref() {
        // Packages of the first format do not say it.
        None | Some("integration" | "solution" | "") => PackageType::Integration,
        Some("input") => PackageType::Input,
        Some("content") => PackageType::Content,
        Some(other) => {
            let problem = format!("{other:?} is not a type of package: integration, input or content");
            return Err(section.wrong("type", problem));
        }
    };
    let readme = files.archive.file("docs/README.md");
    Ok(Package {
        title: section.text("title").unwrap_or_else(|| name.clone()),
        description: section.text_or_empty("description"),
        format_version: section.text_or_empty("format_version"),
        kind,
        categories: section.texts("categories"),
        conditions: conditions(&section)?,
        owner: section.object("owner"),
        release: section.text("release"),
        icons: section.images("icons", &path),
        screenshots: section.images("screenshots", &path),
        vars: variable::read_all(&section)?,
        policy_templates: section
            .sections("policy_templates", |template| policy_template(&template, &path))?,
        policy_templates_behavior: section.text("policy_templates_behavior"),
        data_streams: Vec::new(),
        cluster_privileges: section
            .section("elasticsearch", |engine| {
                engine.section("privileges", |privileges| Ok(privileges.texts("cluster")))
            })?
            .flatten()
            .unwrap_or_default(),
        needs_root: section
            .section("agent", |agent| {
                agent.section("privileges", |privileges| Ok(privileges.flag("root").unwrap_or(false)))
            })?
            .flatten()
            .unwrap_or(false),
        readme: readme.map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
        changelog: changelog::read(files),
        archive: files.archive.clone(),
        layout: Vec::new(),
        index: LayoutIndex::default(),
        templates: BTreeMap::new(),
        name,
        version,
    })
}

fn name(section: &Section<'_>) -> Result<String, PackageError> {
    let name = section.need("name")?;
    // It becomes a part of addresses, of paths and of the engine's names.
    let fits =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'.');
    if name.len() > LONGEST_NAME || !name.bytes().all(fits) || name.starts_with('.') {
        let problem = format!("{name:?} is not a name of a package: lower-case letters, digits, _ and -");
        return Err(section.wrong("name", problem));
    }
    Ok(name)
}

/// `1.2.3`, and what may follow it.
fn version(section: &Section<'_>) -> Result<String, PackageError> {
    let version = section.need("version")?;
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let is_number =
        |part: &str| !part.is_empty() && part.len() < 10 && part.bytes().all(|byte| byte.is_ascii_digit());
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+');
    let numbers = core.split('.').count();
    if !(1..=3).contains(&numbers) || !core.split('.').all(is_number) || !version.bytes().all(fits) {
        let problem = format!("{version:?} is not a version like 1.2.3 or 1.2.3-beta.1");
        return Err(section.wrong("version", problem));
    }
    // `version: 1.0`: what is compared has three parts.
    let rest = version.get(core.len()..).unwrap_or_default();
    Ok(format!("{core}{}{rest}", ".0".repeat(3 - numbers)))
}

fn conditions(section: &Section<'_>) -> Result<Conditions, PackageError> {
    let read = section.section("conditions", |conditions| {
        let either = |group: &str, key: &str| {
            let nested = conditions.section(group, |group| Ok(group.text(key)))?.flatten();
            Ok::<_, PackageError>(nested.or_else(|| conditions.text(&format!("{group}.{key}"))))
        };
        Ok(Conditions {
            kibana_version: either("kibana", "version")?,
            elastic_subscription: either("elastic", "subscription")?,
            agent_version: either("agent", "version")?,
        })
    })?;
    Ok(read.unwrap_or_default())
}

fn policy_template(section: &Section<'_>, path: &str) -> Result<PolicyTemplate, PackageError> {
    let name = section.need("name")?;
    Ok(PolicyTemplate {
        title: section.text("title").unwrap_or_else(|| name.clone()),
        description: section.text_or_empty("description"),
        data_streams: section.texts("data_streams"),
        inputs: section.sections("inputs", |input| read_input(&input))?,
        multiple: section.flag("multiple").unwrap_or(true),
        vars: variable::read_all(section)?,
        categories: section.texts("categories"),
        kind: section.text("type"),
        input: section.text("input"),
        template_path: section.text("template_path"),
        deployment_modes: section.json("deployment_modes"),
        icons: section.images("icons", path),
        screenshots: section.images("screenshots", path),
        name,
    })
}

fn read_input(section: &Section<'_>) -> Result<Input, PackageError> {
    let kind = section.need("type")?;
    Ok(Input {
        title: section.text("title").unwrap_or_else(|| kind.clone()),
        description: section.text_or_empty("description"),
        vars: variable::read_all(section)?,
        template_path: section.text("template_path"),
        input_group: section.text("input_group"),
        multi: section.flag("multi"),
        kind,
    })
}
