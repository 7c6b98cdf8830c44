//! `PUT` of a unit: it is made, replaced, or wanted in another state.

use fleet_cluster::documents::{TargetState, UnitDocument};
use fleet_protocol::fleet_v1::{CONTENT_TYPE, Unit, decode};
use fleet_unit::requirements::SECTION;
use fleet_unit::{Requirements, UnitFile, UnitName, UnitOption};
use http::{HeaderMap, StatusCode, header};

use super::Api;
use super::answer::{Answer, Failure};
use super::documents::Found;
use super::units::unreadable;
use super::write::Attempts;

/// The most bytes of names and values in `[X-Fleet]`. Each pattern in it is matched against each unit in it: the
/// time that it takes to check them grows with the square of this, and others wait meanwhile.
const REQUIREMENTS_MAX: usize = 32 * 1024;

impl Api {
    pub(super) async fn put_unit(
        &self,
        item: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Answer, Failure> {
        check_content_type(headers)?;
        let submission = Submission::read(item, body)?;
        let _turn = self.queues.turn(item).await;
        let mut attempts = Attempts::new();
        let mut perhaps: Option<(UnitDocument, StatusCode)> = None;
        loop {
            let there = self.units.find(item).await?;
            let expect = there.expect();
            if let (Some((written, status)), Found::Value(found)) = (&perhaps, &there)
                && attempts.is_in_doubt()
                && (&found.value.options, found.value.desired_state)
                    == (&written.options, written.desired_state)
            {
                return Ok(Answer::empty(*status));
            }
            attempts.begin(expect)?;
            let (document, status) = match submission.change(there)? {
                Change::None => return Ok(Answer::empty(StatusCode::NO_CONTENT)),
                Change::State(document) => (document, StatusCode::NO_CONTENT),
                Change::File(document) => (document, StatusCode::CREATED),
            };
            if attempts.settle(expect, self.units.put(item, &document, expect).await)? {
                return Ok(Answer::empty(status));
            }
            perhaps = Some((document, status));
        }
    }
}

/// What a client wants, checked as far as it can be without looking at what is there.
struct Submission {
    name: UnitName,
    /// Empty: the file that is there.
    file: Option<UnitFile>,
    wanted: Option<TargetState>,
}

enum Change {
    None,
    State(UnitDocument),
    File(UnitDocument),
}

impl Submission {
    fn read(item: &str, body: &[u8]) -> Result<Submission, Failure> {
        let undecodable = |reason: String| Failure::bad_request(format!("unable to decode body: {reason}"));
        // A list would be read as the fields of an object, without their names.
        if body.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
            return Err(undecodable("it is no object".to_owned()));
        }
        let request: Unit = decode(body).map_err(|error| undecodable(error.to_string()))?;
        if !request.name.is_empty() && request.name != item {
            let message =
                format!("name in URL {item:?} differs from unit name in request body {:?}", request.name);
            return Err(Failure::bad_request(message));
        }
        let name = UnitName::parse(item).map_err(|error| Failure::bad_request(error.to_string()))?;
        let wanted = desired_state(&request.desired_state)?;
        if name.is_template() && wanted.is_some_and(|wanted| wanted != TargetState::Inactive) {
            return Err(Failure::bad_request(format!("cannot activate template {item:?}")));
        }
        let file = (!request.options.is_empty()).then(|| UnitFile::from_options(request.options));
        Ok(Submission { name, file, wanted })
    }

    /// What changes, given what is there.
    fn change(&self, there: Found<UnitDocument>) -> Result<Change, Failure> {
        let conflict = |message: &str| Err(Failure::new(StatusCode::CONFLICT, message));
        match (there, &self.file) {
            (Found::Nothing, None) => conflict("unit does not exist and options field empty"),
            (Found::Malformed(malformed), None) => conflict(&unreadable(&malformed)),
            (Found::Nothing | Found::Malformed(_), Some(file)) => Ok(Change::File(UnitDocument {
                options: self.check(file)?,
                desired_state: self.wanted.unwrap_or(TargetState::Inactive),
                machine: None,
                restarts: 0,
            })),
            (Found::Value(there), Some(file)) if there.value.file() != *file => {
                Ok(Change::File(UnitDocument {
                    options: self.check(file)?,
                    desired_state: self.wanted.unwrap_or(TargetState::Inactive),
                    ..there.value
                }))
            }
            (Found::Value(there), _) => match self.wanted {
                None => conflict("must provide DesiredState to update existing unit"),
                Some(wanted) if wanted == there.value.desired_state => Ok(Change::None),
                Some(wanted) => Ok(Change::State(UnitDocument { desired_state: wanted, ..there.value })),
            },
        }
    }

    /// The options of a file that makes sense, in the order of the normal form: whoever writes them to a file
    /// and reads them again has the same.
    fn check(&self, file: &UnitFile) -> Result<Vec<UnitOption>, Failure> {
        let refused = |error: &dyn std::error::Error| Failure::bad_request(error.to_string());
        let requirements = file.options().iter().filter(|option| option.section == SECTION);
        let size: usize = requirements.map(|option| option.name.len() + option.value.len()).sum();
        if size > REQUIREMENTS_MAX {
            return Err(Failure::bad_request(format!(
                "section [{SECTION}] has {size} bytes: at most {REQUIREMENTS_MAX} are allowed"
            )));
        }
        Requirements::validate(file).map_err(|error| refused(&error))?;
        if !self.name.is_template() {
            Requirements::of(&self.name, file).map_err(|error| refused(&error))?;
        }
        let normal = UnitFile::parse(&file.to_string()).map_err(|error| refused(&error))?;
        Ok(normal.into_options())
    }
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Failure> {
    let unsupported = |message: String| Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    let values: Vec<_> = headers.get_all(header::CONTENT_TYPE).iter().collect();
    let [value] = values.as_slice() else {
        return unsupported(format!("expected 1 Content-Type, got {}", values.len()));
    };
    let media_type = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    if media_type.trim_ascii() == CONTENT_TYPE.as_bytes() {
        return Ok(());
    }
    unsupported("only acceptable Content-Type is application/json".to_owned())
}

fn desired_state(text: &str) -> Result<Option<TargetState>, Failure> {
    if text.is_empty() {
        return Ok(None);
    }
    match TargetState::parse(text) {
        Some(state) => Ok(Some(state)),
        None => Err(Failure::bad_request(format!(
            "invalid value {text:?} for desiredState: expect inactive, loaded or launched"
        ))),
    }
}
