//! The plugin configuration is read strictly: what is wrong is refused and named.

use gatepass_engine::clock::UnixSeconds;
use gatepass_tests::host::{Envoy, LogLevel, Vm};
use gatepass_tests::kit::signed::Signed;
use gatepass_tests::kit::site::{Site, VM_ID, filter};
use serde_json::{Value, json};

fn vm() -> Vm {
    let mut vm = Envoy::new(&filter().unwrap()).worker(VM_ID).unwrap();
    vm.start(b"").unwrap();
    vm
}

fn good() -> Value {
    Signed::start(UnixSeconds(1_800_000_000)).unwrap().configuration().unwrap()
}

#[test]
fn a_good_configuration_starts_and_each_field_that_cannot_be_used_is_named() {
    let mut vm = vm();
    let mut check = |named: &str, change: &dyn Fn(&mut Value)| {
        let mut configuration = good();
        change(&mut configuration);
        vm.clear_logs();
        let accepted = vm.configure(configuration.to_string().as_bytes()).unwrap();
        assert!(!accepted, "{configuration}");
        let errors: Vec<&str> = vm
            .logs()
            .iter()
            .filter(|l| l.level == LogLevel::Error)
            .map(|l| l.text.as_str())
            .collect();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].starts_with("the gatepass plugin configuration is refused"));
        assert!(errors[0].contains(named), "{errors:?} should name {named}");
    };
    for field in
        ["environment", "feed_audience", "control_plane", "roots", "min_root_version", "mode"]
    {
        check(field, &|c| drop(c.as_object_mut().unwrap().remove(field)));
        check(field, &|c| c[field] = json!(null));
        check(field, &|c| c[field] = json!([]));
    }
    for field in ["environment", "feed_audience"] {
        for bad in ["", "a b", "ä", &"a".repeat(129), "a\n"] {
            check(field, &|c| c[field] = json!(bad));
        }
    }
    for field in ["cluster", "authority"] {
        check(field, &|c| drop(c["control_plane"].as_object_mut().unwrap().remove(field)));
        check(field, &|c| c["control_plane"][field] = json!(""));
    }
    for bad in ["x", "/x/", "/", "/a b", "//"] {
        check("path_prefix", &|c| c["control_plane"]["path_prefix"] = json!(bad));
    }
    check("`enviroment`", &|c| c["enviroment"] = json!("prod"));
    check("`tls`", &|c| c["control_plane"]["tls"] = json!(true));
    check("`kids`", &|c| c["roots"]["kids"] = json!([]));
    check("mode", &|c| c["mode"] = json!("open"));
    check("mode", &|c| c["mode"] = json!("Enforce"));
    for bad in [json!(-1), json!(10_001), json!(0.5), json!("2000")] {
        check("hold_ms", &|c| c["hold_ms"] = bad.clone());
    }
    for bad in [json!(0), json!(-1), json!("1")] {
        check("min_root_version", &|c| c["min_root_version"] = bad.clone());
    }
    for bad in [json!(0), json!(2), json!(-1), json!("1")] {
        check("roots", &|c| c["roots"]["threshold"] = bad.clone());
    }
    let small_order = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for bad in [json!([]), json!(["AAAA"]), json!(["%"]), json!([small_order]), json!("x")] {
        check("roots", &|c| c["roots"]["keys"] = bad.clone());
    }
    check("roots", &|c| {
        let key = c["roots"]["keys"][0].clone();
        c["roots"] = json!({"keys": [key, key], "threshold": 2});
    });
    for bad in [json!("%"), json!("AAAA"), json!(""), json!(5)] {
        check("baseline", &|c| c["baseline"] = bad.clone());
    }
    check("expose_position", &|c| c["expose_position"] = json!("yes"));
    assert!(vm.configure(good().to_string().as_bytes()).unwrap());
    assert_eq!(vm.tick_period().unwrap().as_millis(), 50);
}

#[test]
fn what_is_no_json_object_is_refused() {
    let good = good().to_string();
    let twice = good.replacen('{', "{\"environment\":\"dev\",", 1);
    let cut = good[..good.len() - 1].to_owned();
    let deep = "[".repeat(100_000);
    let mut vm = vm();
    for bad in ["", "{}", "null", "[]", "\u{feff}{}", &twice, &cut, &format!("{good} x"), &deep] {
        assert!(!vm.configure(bad.as_bytes()).unwrap(), "{:.60}", bad);
    }
    assert!(!vm.configure(b"\xff\xfe").unwrap());
    assert!(!vm.configure(&vec![b' '; 17 << 20]).unwrap());
    assert!(vm.configure(good.as_bytes()).unwrap());
}

#[test]
fn a_root_below_the_pinned_version_is_not_believed() {
    let mut site = Site::cold(1, |c| c["min_root_version"] = 2.into()).unwrap();
    site.hear_snapshot().unwrap();
    assert!(site.shared("log").is_err(), "nothing was published");
    let now = site.now();
    site.control.rotate_feed_key(20, now).unwrap();
    site.hear_snapshot().unwrap();
    assert!(site.shared("log").is_ok());
}
