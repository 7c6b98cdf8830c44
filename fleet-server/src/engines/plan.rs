//! What is to be done to an engine: a function of what is wanted and what is there.

use std::collections::{BTreeMap, BTreeSet};

use fleet_integration::assets::{Asset, AssetKind};

use super::record::InstalledAsset;

/// What an engine has, by kind and name: the checksum of what is ours, nothing of what is not.
pub(super) type Observed = BTreeMap<(AssetKind, String), Option<String>>;

/// What is to be done for one package.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan<'a> {
    /// In this order.
    pub(super) put: Vec<&'a Asset>,
    /// In this order: what was put there for the package and belongs to it no more.
    pub(super) remove: Vec<InstalledAsset>,
    /// What somebody else has put there: left alone.
    pub(super) foreign: Vec<InstalledAsset>,
    /// Data streams, by the names of their templates, whose next documents need what is put there now.
    pub(super) roll_over: BTreeSet<String>,
}

fn key(asset: &Asset) -> (AssetKind, String) {
    (asset.kind, asset.name.clone())
}

/// What it takes to have `wanted` there, of which `before` was put there earlier.
pub(super) fn plan<'a>(wanted: &'a [Asset], before: &[InstalledAsset], observed: &Observed) -> Plan<'a> {
    let mut plan = Plan::default();
    for asset in wanted {
        let id = InstalledAsset { id: asset.name.clone(), kind: asset.kind };
        match observed.get(&key(asset)) {
            None => plan.put.push(asset),
            // What people may change is made once.
            Some(_) if asset.is_users => {}
            Some(None) => plan.foreign.push(id),
            Some(Some(there)) if *there == asset.checksum => {}
            Some(Some(_)) => plan.put.push(asset),
        }
    }
    // Templates count for new indices alone: what writes now must begin one.
    for asset in plan.put.iter().filter(|asset| !asset.is_users) {
        match (asset.kind, asset.name.strip_suffix("@package")) {
            (AssetKind::ComponentTemplate, Some(name)) => drop(plan.roll_over.insert(name.to_owned())),
            (AssetKind::IndexTemplate, _) => drop(plan.roll_over.insert(asset.name.clone())),
            _ => {}
        }
    }
    let wanted: BTreeSet<_> = wanted.iter().map(key).collect();
    let is_over = |old: &&InstalledAsset| {
        let key = (old.kind, old.id.clone());
        // What people have made of it stays theirs.
        !wanted.contains(&key) && observed.get(&key).is_some_and(Option::is_some)
    };
    plan.remove = before.iter().filter(is_over).cloned().collect();
    // What refers to others goes before them.
    plan.remove.sort_by(|a, b| b.kind.cmp(&a.kind).then_with(|| a.id.cmp(&b.id)));
    plan
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asset(kind: AssetKind, name: &str, checksum: &str, is_users: bool) -> Asset {
        let (name, checksum) = (name.to_owned(), checksum.to_owned());
        Asset { kind, name, body: json!({}), checksum, is_users, is_started: false }
    }

    fn wanted(checksum: &str) -> Vec<Asset> {
        vec![
            asset(AssetKind::IngestPipeline, "logs-a-1", "p", false),
            asset(AssetKind::ComponentTemplate, "logs-a@custom", "c", true),
            asset(AssetKind::ComponentTemplate, "logs-a@package", checksum, false),
            asset(AssetKind::IndexTemplate, "logs-a", "i", false),
        ]
    }

    fn there(wanted: &[Asset]) -> Observed {
        wanted.iter().map(|asset| (key(asset), Some(asset.checksum.clone()))).collect()
    }

    fn names<'a>(assets: &[&'a Asset]) -> Vec<&'a str> {
        assets.iter().map(|asset| asset.name.as_str()).collect()
    }

    fn installed(wanted: &[Asset]) -> Vec<InstalledAsset> {
        wanted.iter().map(|asset| InstalledAsset { id: asset.name.clone(), kind: asset.kind }).collect()
    }

    #[test]
    fn everything_at_first_and_nothing_afterwards() {
        let wanted = wanted("x");
        let first = plan(&wanted, &[], &Observed::new());
        assert_eq!(names(&first.put), ["logs-a-1", "logs-a@custom", "logs-a@package", "logs-a"]);
        assert_eq!(plan(&wanted, &installed(&wanted), &there(&wanted)), Plan::default());
    }

    #[test]
    fn what_changed_is_put_again_and_counts_from_the_next_document_on() {
        let (old, new) = (wanted("x"), wanted("y"));
        let made = plan(&new, &installed(&old), &there(&old));
        assert_eq!(names(&made.put), ["logs-a@package"]);
        assert_eq!(made.roll_over, BTreeSet::from(["logs-a".to_owned()]));
    }

    #[test]
    fn what_is_of_others_is_left_alone() {
        let wanted = wanted("x");
        let mut observed = there(&wanted);
        observed.insert((AssetKind::IndexTemplate, "logs-a".to_owned()), None);
        observed.insert((AssetKind::ComponentTemplate, "logs-a@custom".to_owned()), None);
        let made = plan(&wanted, &installed(&wanted), &observed);
        assert_eq!(made.put, Vec::<&Asset>::new());
        assert_eq!(
            made.foreign,
            [InstalledAsset { id: "logs-a".to_owned(), kind: AssetKind::IndexTemplate }]
        );
        let over = plan(&[], &installed(&wanted), &observed);
        let left: Vec<_> = over.remove.iter().map(|asset| asset.id.as_str()).collect();
        assert_eq!(left, ["logs-a@package", "logs-a-1"]);
    }

    #[test]
    fn what_refers_to_others_goes_first() {
        let wanted = wanted("x");
        let over = plan(&[], &installed(&wanted), &there(&wanted));
        let order: Vec<_> = over.remove.iter().map(|asset| asset.id.as_str()).collect();
        assert_eq!(order, ["logs-a", "logs-a@custom", "logs-a@package", "logs-a-1"]);
    }
}
