use super::*;
use crate::bundle::{
    ActionMode, Assurance, Audit, Binding, BodyRule, Input, InputKind, Recording, Risk, Route,
    Source, Treatment, Uses,
};

fn action(name: &str) -> Action {
    Action {
        name: name.into(),
        risk: Risk::Low,
        scopes_all: vec![],
        scopes_any: vec![],
        assurance: Assurance::Static,
        binding: Binding::None,
        uses: Uses::Unlimited,
        max_age: None,
        staleness: 60,
        body: BodyRule::None,
        content_types: vec![],
        encodings: vec![],
        approval: false,
        mode: ActionMode::Enforce,
        audit: Audit::Batched,
        groups: vec![],
    }
}

/// A bundle with one action a path, named after it.
fn bundle(paths: &[&str]) -> Bundle {
    let routes = (0..).zip(paths).map(|(id, path)| Route {
        methods: vec!["GET".into()],
        path: (*path).into(),
        target: RouteTarget::Action(id),
        inputs: vec![],
        call: None,
        max_body: 65_536,
        max_duration: 60,
        upgrade: None,
    });
    Bundle {
        actions: (0..paths.len()).map(|at| action(&format!("r{at}"))).collect(),
        hosts: vec![Host {
            names: vec!["h".into()],
            audience: "https://h".into(),
            origin: None,
            treatment: Treatment::Guarded(routes.collect()),
        }],
        policy: vec![],
        budgets: vec![],
    }
}

fn routes(bundle: &mut Bundle) -> &mut Vec<Route> {
    match &mut bundle.hosts[0].treatment {
        Treatment::Guarded(routes) => routes,
        Treatment::PassedThrough => panic!("guarded"),
    }
}

fn find(paths: &[&str], path: &str) -> Result<Option<String>, Ambiguous> {
    let index = Index::build(bundle(paths)).unwrap();
    let Some(HostMatch::Guarded(host)) = index.host("h") else { panic!("host") };
    let target = Target::parse(path.as_bytes()).unwrap();
    let found = host.route("GET", &target, &[])?;
    Ok(found.map(|m| {
        let Matched::Route(m) = m else { panic!("calls") };
        paths[m.action.unwrap().1.name.strip_prefix('r').unwrap().parse::<usize>().unwrap()]
            .to_owned()
    }))
}

#[test]
fn the_most_specific_template_wins() {
    let paths = ["/", "/a", "/a/", "/a/{x}", "/a/b", "/{x}/b", "/{x}/{y}/c", "/a/{x}/d"];
    for (path, expected) in [
        ("/", Some("/")),
        ("/a", Some("/a")),
        ("/a/", Some("/a/")),
        ("/a/b", Some("/a/b")),
        ("/a/z", Some("/a/{x}")),
        ("/z/b", Some("/{x}/b")),
        ("/a/z/c", Some("/{x}/{y}/c")),
        ("/a/z/d", Some("/a/{x}/d")),
        ("/z/z/d", None),
        ("/a/b/", None),
        ("/z/", None),
        ("/z", None),
    ] {
        assert_eq!(find(&paths, path), Ok(expected.map(str::to_owned)), "{path}");
    }
}

#[test]
fn a_second_spelling_of_a_literal_never_reaches_a_parameters_route() {
    let paths = ["/o/{id}", "/o/all!", "/o/admin"];
    assert_eq!(find(&paths, "/o/all!"), Ok(Some("/o/all!".into())));
    assert_eq!(find(&paths, "/o/x%21"), Ok(Some("/o/{id}".into())));
    assert!(find(&paths, "/o/all%21").is_err());
    assert!(find(&paths, "/o/ADMIN").is_err());
    assert!(find(&paths, "/O/x").is_err());
}

#[test]
fn a_second_spelling_is_found_among_many_however_they_are_written() {
    // Bytes between the two cases (`[`, `_`) and beside them sort otherwise in one than in the other.
    let literals = ["Za", "_b", "aZ", "az2", "B", "c!", "C_", "d!", "E-1", "e-2", "~a", "zz"];
    let mut paths: Vec<String> = literals.iter().map(|text| format!("/{text}")).collect();
    paths.push("/{x}".to_owned());
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let others = ["y", "ab", "c~", "b_", "zzz", "e-"].map(str::to_owned);
    let upper = literals.map(str::to_ascii_uppercase);
    let lower = literals.map(str::to_ascii_lowercase);
    let mut refused = 0;
    for asked in others.iter().chain(&upper).chain(&lower) {
        let second = !literals.contains(&asked.as_str())
            && literals.iter().any(|text| text.eq_ignore_ascii_case(asked));
        refused += usize::from(second);
        assert_eq!(find(&paths, &format!("/{asked}")).is_err(), second, "{asked}");
    }
    assert!(refused >= 12, "{refused}");
}

#[test]
fn equal_specificity_is_refused_at_publish() {
    let flaw = Index::build(bundle(&["/a/{x}", "/a/{y}"])).unwrap_err();
    assert_eq!(flaw.place, Place::Route { host: 0, route: 1 });
    assert!(Index::build(bundle(&["/a/{x}", "/{y}/a"])).is_ok());
}

#[test]
fn another_method_has_no_route() {
    let index = Index::build(bundle(&["/a"])).unwrap();
    let Some(HostMatch::Guarded(host)) = index.host("h") else { panic!("host") };
    let target = Target::parse(b"/a").unwrap();
    assert!(host.route("GET", &target, &[]).unwrap().is_some());
    for method in ["POST", "get", "HEAD", ""] {
        assert!(host.route(method, &target, &[]).unwrap().is_none(), "{method}");
    }
}

#[test]
fn a_flawed_bundle_is_refused_with_its_place() {
    let check = |change: fn(&mut Bundle), place: Place| {
        let mut bundle = bundle(&["/a/{x}"]);
        assert!(Index::build(bundle.clone()).is_ok());
        change(&mut bundle);
        assert_eq!(Index::build(bundle).map(|_| ()).unwrap_err().place, place);
    };
    let route = Place::Route { host: 0, route: 0 };
    let input =
        |source| Input { name: "i".into(), kind: InputKind::Text, source, record: Recording::None };
    check(|b| b.policy.push(0), Place::Bundle);
    check(|b| b.actions[0].name = "Orders".into(), Place::Action(0));
    check(|b| b.actions[0].name = "a::b".into(), Place::Action(0));
    check(|b| b.actions[0].staleness = 2, Place::Action(0));
    check(|b| b.actions[0].staleness = 3601, Place::Action(0));
    check(|b| b.actions.push(b.actions[0].clone()), Place::Action(1));
    check(
        |b| (b.actions[0].approval, b.actions[0].body) = (true, BodyRule::Unread),
        Place::Action(0),
    );
    check(|b| b.hosts[0].names.clear(), Place::Host(0));
    check(|b| b.hosts[0].names[0] = "H".into(), Place::Host(0));
    check(|b| b.hosts[0].names[0] = "h:80".into(), Place::Host(0));
    check(|b| b.hosts[0].audience = "h".into(), Place::Host(0));
    check(|b| b.hosts.push(b.hosts[0].clone()), Place::Host(1));
    check(|b| routes(b)[0].methods.clear(), route);
    check(|b| routes(b)[0].methods[0] = "get".into(), route);
    check(|b| routes(b)[0].methods[0] = "CONNECT".into(), route);
    check(|b| routes(b)[0].target = RouteTarget::Action(1), route);
    check(|b| routes(b)[0].upgrade = Some("websocket".into()), route);
    check(
        |b| {
            b.actions[0].body = BodyRule::Unread;
            routes(b)[0].inputs.clear();
            routes(b)[0].upgrade = Some("h2c".into());
        },
        route,
    );
    check(|b| routes(b)[0].max_duration = 0, route);
    for path in
        ["a", "/{x", "/a{x}", "/{x}/{x}", "/a//b", "/../a", "/a?b", "/a%20b", "/{X}", "/a;b"]
    {
        let mut bundle = bundle(&["/a"]);
        routes(&mut bundle)[0].path = path.into();
        assert_eq!(Index::build(bundle).map(|_| ()).unwrap_err().place, route, "{path}");
    }
    let with_input = |source: Source, body: BodyRule| {
        let mut bundle = bundle(&["/a/{x}"]);
        routes(&mut bundle)[0].inputs.push(input(source));
        bundle.actions[0].body = body;
        Index::build(bundle).map(|_| ()).map_err(|flaw| flaw.place)
    };
    let at = Place::Input { host: 0, route: 0, input: 0 };
    assert_eq!(with_input(Source::Path("x".into()), BodyRule::None), Ok(()));
    assert_eq!(with_input(Source::Path("x".into()), BodyRule::Unread), Err(route));
    assert_eq!(with_input(Source::Path("y".into()), BodyRule::None), Err(at));
    assert_eq!(with_input(Source::Query("a[]".into()), BodyRule::None), Err(at));
    assert_eq!(with_input(Source::Header("authorization".into()), BodyRule::None), Err(at));
    assert_eq!(with_input(Source::Header("x-gatepass-agent".into()), BodyRule::None), Err(at));
}
