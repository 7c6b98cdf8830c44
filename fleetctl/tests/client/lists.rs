use crate::fleet::Fleet;
use crate::on;

fn fleet() -> Fleet {
    let fleet = Fleet::with(&[
        ("global.service", "launched"),
        ("hello.service", "launched"),
        ("loaded@1.service", "loaded"),
        ("nowhere.service", "inactive"),
    ]);
    fleet.add("global.service", "launched", "[Service]\nExecStart=/bin/true\n[X-Fleet]\nGlobal=true\n");
    fleet.add(
        "hello.service",
        "launched",
        "[Unit]\nDescription=Hello\tWorld\n[Service]\nExecStart=/bin/true\n",
    );
    fleet
}

#[tokio::test]
async fn list_machines() {
    insta::assert_snapshot!(on(&fleet(), &["list-machines"]).await, @"
    MACHINE		IP		METADATA
    113f16a7...	172.18.1.1	az=z1,region=eu
    224e27b8...	-		-
    exit 0
    ");
    insta::assert_snapshot!(on(&fleet(), &["list-machines", "-l", "--no-legend", "--fields=ip,machine"]).await, @"
    172.18.1.1	113f16a7d2c44b3da5c6e5b3e6a0f001
    -		224e27b8e3d55c4eb6d7f6c4f7b1f002
    exit 0
    ");
    insta::assert_snapshot!(on(&fleet(), &["list-machines", "-o", "json"]).await, @r#"
    [
      {
        "id": "113f16a7d2c44b3da5c6e5b3e6a0f001",
        "metadata": {
          "az": "z1",
          "region": "eu"
        },
        "primaryIP": "172.18.1.1"
      },
      {
        "id": "224e27b8e3d55c4eb6d7f6c4f7b1f002"
      }
    ]
    exit 0
    "#);
    insta::assert_snapshot!(on(&fleet(), &["list-machines", "-o", "yaml"]).await, @r#"
    - id: "113f16a7d2c44b3da5c6e5b3e6a0f001"
      metadata:
        az: z1
        region: eu
      primaryIP: "172.18.1.1"
    - id: "224e27b8e3d55c4eb6d7f6c4f7b1f002"
    exit 0
    "#);
}

#[tokio::test]
async fn list_units() {
    insta::assert_snapshot!(on(&fleet(), &["list-units"]).await, @"
    UNIT			MACHINE			ACTIVE		SUB
    global.service		113f16a7.../172.18.1.1	active		running
    global.service		224e27b8...		active		running
    hello.service		113f16a7.../172.18.1.1	active		running
    loaded@1.service	113f16a7.../172.18.1.1	inactive	dead
    exit 0
    ");
    insta::assert_snapshot!(on(&fleet(), &["list-units", "--full", "--no-legend"]).await, @"
    global.service		113f16a7d2c44b3da5c6e5b3e6a0f001/172.18.1.1	active		running
    global.service		224e27b8e3d55c4eb6d7f6c4f7b1f002		active		running
    hello.service		113f16a7d2c44b3da5c6e5b3e6a0f001/172.18.1.1	active		running
    loaded@1.service	113f16a7d2c44b3da5c6e5b3e6a0f001/172.18.1.1	inactive	dead
    exit 0
    ");
    insta::assert_snapshot!(on(&fleet(), &["list-units", "--fields", "unit,load,hash,machine,sub,active"]).await, @"
    UNIT			LOAD	HASH	MACHINE			SUB	ACTIVE
    global.service		loaded	055adf8	113f16a7.../172.18.1.1	running	active
    global.service		loaded	055adf8	224e27b8...		running	active
    hello.service		loaded	2f36ba2	113f16a7.../172.18.1.1	running	active
    loaded@1.service	loaded	2d432f4	113f16a7.../172.18.1.1	dead	inactive
    exit 0
    ");
    insta::assert_snapshot!(on(&fleet(), &["list-units", "-o=yaml"]).await, @r#"
    - hash: "055adf891769abb1eaf06ee02db4ab568a3b561f"
      machineID: "113f16a7d2c44b3da5c6e5b3e6a0f001"
      name: global.service
      systemdActiveState: active
      systemdLoadState: loaded
      systemdSubState: running
    - hash: "055adf891769abb1eaf06ee02db4ab568a3b561f"
      machineID: "224e27b8e3d55c4eb6d7f6c4f7b1f002"
      name: global.service
      systemdActiveState: active
      systemdLoadState: loaded
      systemdSubState: running
    - hash: "2f36ba2965211d2158e1aec84ce0861df5e478bc"
      machineID: "113f16a7d2c44b3da5c6e5b3e6a0f001"
      name: hello.service
      systemdActiveState: active
      systemdLoadState: loaded
      systemdSubState: running
    - hash: "2d432f4a06608c1a8b2848b66c836793a1d48ce6"
      machineID: "113f16a7d2c44b3da5c6e5b3e6a0f001"
      name: loaded@1.service
      systemdActiveState: inactive
      systemdLoadState: loaded
      systemdSubState: dead
    exit 0
    "#);
    insta::assert_snapshot!(on(&Fleet::default(), &["list-units"]).await, @"
    UNIT	MACHINE	ACTIVE	SUB
    exit 0
    ");
    insta::assert_snapshot!(on(&Fleet::default(), &["list-units", "--no-legend"]).await, @"exit 0");
}

#[tokio::test]
async fn list_unit_files() {
    insta::assert_snapshot!(on(&fleet(), &["list-unit-files"]).await, @"
    UNIT			HASH	DSTATE		STATE		TARGET
    global.service		055adf8	launched	-		global
    hello.service		2f36ba2	launched	launched	113f16a7.../172.18.1.1
    loaded@1.service	2d432f4	loaded		loaded		113f16a7.../172.18.1.1
    nowhere.service		2d432f4	inactive	inactive	-
    exit 0
    ");
    insta::assert_snapshot!(on(&fleet(), &["list-unit-files", "-l", "--fields", "unit,global,tmachine,desc,hash"]).await, @r#"
    UNIT			GLOBAL	TMACHINE					DESC		HASH
    global.service		true	global						-		055adf891769abb1eaf06ee02db4ab568a3b561f
    hello.service		false	113f16a7d2c44b3da5c6e5b3e6a0f001/172.18.1.1	Hello World	2f36ba2965211d2158e1aec84ce0861df5e478bc
    loaded@1.service	false	113f16a7d2c44b3da5c6e5b3e6a0f001/172.18.1.1	-		2d432f4a06608c1a8b2848b66c836793a1d48ce6
    nowhere.service		false	-						-		2d432f4a06608c1a8b2848b66c836793a1d48ce6
    err| WARNING: The "tmachine" field is deprecated. Use "target" instead
    exit 0
    "#);
    insta::assert_snapshot!(on(&Fleet::with(&[("a.service", "launched")]), &["list-unit-files", "-o", "json"]).await, @r#"
    [
      {
        "currentState": "launched",
        "desiredState": "launched",
        "global": false,
        "hash": "2d432f4a06608c1a8b2848b66c836793a1d48ce6",
        "machineID": "113f16a7d2c44b3da5c6e5b3e6a0f001",
        "name": "a.service",
        "options": [
          {
            "name": "ExecStart",
            "section": "Service",
            "value": "/bin/sleep 1000"
          }
        ]
      }
    ]
    exit 0
    "#);
}

#[tokio::test]
async fn fields_must_be_known() {
    insta::assert_snapshot!(on(&fleet(), &["list-units", "--fields=unit,x"]).await, @r#"
    err| Invalid key in output format: "x". Valid are unit,load,active,sub,machine,hash
    exit 1
    "#);
    insta::assert_snapshot!(on(&fleet(), &["list-unit-files", "--fields="]).await, @"
    err| Must define output format: --fields=unit,global,dstate,target,tmachine,state,hash,desc
    exit 1
    ");
    insta::assert_snapshot!(on(&fleet(), &["list-machines", "--fields=unit"]).await, @r#"
    err| Invalid key in output format: "unit". Valid are machine,ip,metadata
    exit 1
    "#);
}

#[tokio::test]
async fn all_pages_are_followed() {
    let units: Vec<String> = (0..25).map(|number| format!("u{number:02}.service")).collect();
    let units: Vec<(&str, &str)> = units.iter().map(|name| (name.as_str(), "loaded")).collect();
    let fleet = Fleet::with(&units).paged(10);
    let run = on(&fleet, &["list-unit-files", "--no-legend", "--fields=unit"]).await;
    assert_eq!(run.out.lines().count(), 25);
    assert_eq!(run.out.lines().last(), Some("u24.service"));
}
