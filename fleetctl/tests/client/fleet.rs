//! A cluster as the client sees it. What becomes of a unit follows from its name, so that a test reads as a
//! story: `slow.service` needs some looks to become active, `broken.service` fails, `crashing.service` is restarted by
//! systemd for ever, `again.service` only at first, `stuck.service` cannot even be loaded.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use fleet_protocol::fleet_v1::{
    ErrorBody, Machine, MachinePage, Unit, UnitPage, UnitState, UnitStatePage, encode,
};
use fleet_unit::UnitFile;

use crate::server::{Answer, Request};

pub(crate) const ONE: &str = "113f16a7d2c44b3da5c6e5b3e6a0f001";
pub(crate) const TWO: &str = "224e27b8e3d55c4eb6d7f6c4f7b1f002";

/// The machines and units of a cluster. Shared with the server that serves it.
#[derive(Clone, Default)]
pub(crate) struct Fleet(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    units: BTreeMap<String, Entry>,
    /// An original fleetd: it knows neither `explain` nor `restart`.
    pub(crate) old: bool,
    page: usize,
    /// Where all machines are.
    address: Option<String>,
}

#[derive(Clone)]
struct Entry {
    file: UnitFile,
    desired: String,
    current: String,
    /// Looks since the last change of what is wanted.
    looks: u32,
    restarts: u64,
    destroyed: bool,
}

impl Fleet {
    /// A cluster of two machines with these units, each wanted and being in a state.
    pub(crate) fn with(units: &[(&str, &str)]) -> Fleet {
        let fleet = Fleet::default();
        for (name, state) in units {
            fleet.add(name, state, "[Service]\nExecStart=/bin/sleep 1000\n");
        }
        fleet
    }

    /// Adds a unit.
    pub(crate) fn add(&self, name: &str, state: &str, file: &str) {
        let entry = Entry {
            file: UnitFile::parse(file).unwrap(),
            desired: state.to_owned(),
            current: state.to_owned(),
            looks: 100,
            restarts: 0,
            destroyed: false,
        };
        self.0.lock().unwrap().units.insert(name.to_owned(), entry);
    }

    /// Makes it the original's.
    pub(crate) fn old(self) -> Fleet {
        self.0.lock().unwrap().old = true;
        self
    }

    /// All its machines have this address.
    pub(crate) fn at(self, address: &str) -> Fleet {
        self.0.lock().unwrap().address = Some(address.to_owned());
        self
    }

    /// Lists come in pages of this size.
    pub(crate) fn paged(self, page: usize) -> Fleet {
        self.0.lock().unwrap().page = page;
        self
    }

    /// What is wanted of a unit; nothing if it does not exist.
    pub(crate) fn desired(&self, name: &str) -> Option<String> {
        self.0.lock().unwrap().units.get(name).map(|unit| unit.desired.clone())
    }

    /// The unit file of a unit.
    pub(crate) fn file(&self, name: &str) -> Option<String> {
        self.0.lock().unwrap().units.get(name).map(|unit| unit.file.to_string())
    }

    /// Answers a request.
    pub(crate) fn answer(&self, request: &Request) -> Answer {
        let mut state = self.0.lock().unwrap();
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let path = path.replace("%40", "@");
        let token: usize = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("nextPageToken="))
            .map_or(0, |token| token.parse().unwrap());
        let wanted =
            query.split('&').find_map(|pair| pair.strip_prefix("unitName=")).map(|n| n.replace("%40", "@"));
        let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match (request.method.as_str(), &segments[2..]) {
            ("GET", ["machines"]) => {
                json(&MachinePage { machines: state.machines(), next_page_token: String::new() })
            }
            ("GET", ["units"]) => state.list_units(token),
            ("GET", ["state"]) => state.list_states(wanted.as_deref()),
            ("GET", ["units", name]) => state.get(name),
            ("PUT", ["units", name]) => state.put(name, &request.body),
            ("DELETE", ["units", name]) => state.delete(name),
            ("GET", ["units", name, "explain"]) if !state.old => state.explain(name),
            ("POST", ["units", name, "restart"]) if !state.old => state.restart(name),
            _ => (404, "404 page not found\n".to_owned()),
        }
    }
}

impl State {
    fn machines(&self) -> Vec<Machine> {
        let metadata =
            [("az", "z1"), ("region", "eu")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        let address = |other: &str| self.address.clone().unwrap_or(other.to_owned());
        vec![
            Machine { id: ONE.to_owned(), metadata: metadata.into(), primary_ip: address("172.18.1.1") },
            Machine { id: TWO.to_owned(), primary_ip: address(""), ..Machine::default() },
        ]
    }

    fn list_units(&mut self, from: usize) -> Answer {
        let page = if self.page == 0 { usize::MAX } else { self.page };
        let names: Vec<String> = self.units.keys().cloned().collect();
        let units: Vec<Unit> = names.iter().filter_map(|name| self.look(name)).collect();
        let more = units.len() > from.saturating_add(page);
        json(&UnitPage {
            units: units.into_iter().skip(from).take(page).collect(),
            next_page_token: if more { (from + page).to_string() } else { String::new() },
        })
    }

    fn list_states(&mut self, wanted: Option<&str>) -> Answer {
        let names: Vec<String> =
            self.units.keys().filter(|name| wanted.is_none_or(|w| w == *name)).cloned().collect();
        json(&UnitStatePage {
            states: names.iter().flat_map(|name| self.states(name)).collect(),
            next_page_token: String::new(),
        })
    }

    /// The unit as it is now; each look moves it on.
    fn look(&mut self, name: &str) -> Option<Unit> {
        let entry = self.units.get_mut(name).filter(|entry| !entry.destroyed)?;
        entry.looks += 1;
        if !name.starts_with("nowhere") && !name.starts_with("stuck") && entry.looks > 1 {
            entry.current.clone_from(&entry.desired);
        }
        let global = name.starts_with("global");
        let placed = entry.desired != "inactive" && !name.starts_with("nowhere") && !global;
        Some(Unit {
            current_state: if global { String::new() } else { entry.current.clone() },
            desired_state: entry.desired.clone(),
            machine_id: if placed { ONE.to_owned() } else { String::new() },
            name: name.to_owned(),
            options: entry.file.options().to_vec(),
        })
    }

    fn states(&mut self, name: &str) -> Vec<UnitState> {
        let Some(entry) = self.units.get_mut(name) else { return Vec::new() };
        if entry.destroyed {
            entry.looks += 1;
            if entry.looks > 3 {
                self.units.remove(name);
                return Vec::new();
            }
        }
        if (entry.current == "inactive" && !name.starts_with("stuck")) || name.starts_with("nowhere") {
            return Vec::new();
        }
        let (active, sub) = match (entry.current.as_str(), name) {
            ("loaded", _) => ("inactive", "dead"),
            (_, name) if name.starts_with("slow") && entry.looks < 6 => ("activating", "start-pre"),
            (_, name) if name.starts_with("crashing") => match entry.looks % 2 {
                0 => ("activating", "auto-restart"),
                _ => ("activating", "start"),
            },
            (_, name) if name.starts_with("again") && entry.looks < 6 => ("activating", "auto-restart"),
            (_, name) if name.starts_with("oneshot") => ("inactive", "dead"),
            (_, name) if name.starts_with("broken") => ("failed", "failed"),
            _ => ("active", "running"),
        };
        let state = |machine: &str| UnitState {
            hash: entry.file.hash().to_string(),
            machine_id: machine.to_owned(),
            name: name.to_owned(),
            systemd_active_state: active.to_owned(),
            systemd_load_state: "loaded".to_owned(),
            systemd_sub_state: sub.to_owned(),
        };
        let machines: &[&str] = if name.starts_with("global") { &[ONE, TWO] } else { &[ONE] };
        machines.iter().map(|machine| state(machine)).collect()
    }

    fn get(&mut self, name: &str) -> Answer {
        match self.look(name) {
            Some(unit) => json(&unit),
            None => refused(404, "unit does not exist"),
        }
    }

    fn put(&mut self, name: &str, body: &str) -> Answer {
        let unit: Unit = serde_json::from_str(body).unwrap();
        if name.starts_with("refused") {
            return refused(400, "invalid unit type: \"refused\"");
        }
        let file = UnitFile::from_options(unit.options);
        let desired = if unit.desired_state.is_empty() { "inactive".to_owned() } else { unit.desired_state };
        let known = self.units.get(name).cloned();
        let current = known.as_ref().map_or("inactive".to_owned(), |entry| entry.current.clone());
        let file = match &known {
            Some(entry) if file.options().is_empty() => entry.file.clone(),
            _ => file,
        };
        let restarts = known.map_or(0, |entry| entry.restarts);
        self.units
            .insert(name.to_owned(), Entry { file, desired, current, looks: 0, restarts, destroyed: false });
        (201, String::new())
    }

    fn delete(&mut self, name: &str) -> Answer {
        match self.units.get_mut(name) {
            Some(entry) => {
                (entry.destroyed, entry.looks) = (true, 0);
                (204, String::new())
            }
            None => refused(404, "unit does not exist"),
        }
    }

    fn restart(&mut self, name: &str) -> Answer {
        match self.units.get_mut(name) {
            Some(entry) => {
                entry.restarts += 1;
                entry.looks = 0;
                (204, String::new())
            }
            None => refused(404, "unit does not exist"),
        }
    }

    fn explain(&mut self, name: &str) -> Answer {
        let Some(unit) = self.look(name) else { return refused(404, "unit does not exist") };
        let (restarts, looks) = self.units.get(name).map(|entry| (entry.restarts, entry.looks)).unwrap();
        let done = if looks > 2 { restarts } else { restarts.saturating_sub(1) };
        let states: Vec<serde_json::Value> = self
            .states(name)
            .iter()
            .map(|state| {
                let error = match name {
                    name if name.starts_with("broken") => "systemd could not start it: failed",
                    name if name.starts_with("stuck") => "cannot write the unit file",
                    _ => "",
                };
                serde_json::json!({"machineID": state.machine_id, "currentState": "launched", "restarts": done, "error": error,
                    "systemdActiveState": state.systemd_active_state, "systemdSubState": state.systemd_sub_state})
            })
            .collect();
        let reasons = if name.starts_with("nowhere") {
            serde_json::json!([{"machines": [ONE, TWO], "reason": "metadata az=mars required"}])
        } else {
            serde_json::json!([])
        };
        let explanation = serde_json::json!({
            "currentState": unit.current_state, "desiredState": unit.desired_state, "machineID": unit.machine_id,
            "name": name, "reasons": reasons, "restarts": restarts, "states": states,
            "global": name.starts_with("global"),
        });
        (200, explanation.to_string())
    }
}

fn json(object: &impl serde::Serialize) -> Answer {
    (200, String::from_utf8(encode(object).unwrap()).unwrap())
}

fn refused(code: u16, message: &str) -> Answer {
    (code, serde_json::to_string(&ErrorBody::new(code, message)).unwrap())
}
