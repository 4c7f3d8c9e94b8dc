use serde_json::json;

use super::*;

fn find(text: &str) -> Result<Plan, DirectiveError> {
    Plan::find(text).expect("there is a directive")
}

#[test]
fn a_plan_is_found_in_the_midst_of_words_and_has_its_own_end() {
    let plan = find(r#"please <<stub [{"say":"a >> b"}, {"yield":true}] >> thanks >>"#).unwrap();
    assert_eq!(plan, Plan::new().say("a >> b").yield_());
    assert!(Plan::find("no directive").is_none());
}

#[test]
fn what_the_builder_writes_is_read_back() {
    let leaf = Plan::new().call("exec", json!({"command": "echo \"<<stub\""})).say("x >> {name}");
    let middle = Plan::new().spawn([("a", leaf.clone()), ("b", leaf)]).say_when_results(2, "m");
    let plan = Plan::named("root")
        .spawn_many(3, "m", middle)
        .yield_with(json!({"waitFor": "any"}))
        .say("end")
        .thinking("hm")
        .after_ms(5)
        .failing(529, 2);
    assert_eq!(find(&plan.to_brief()), Ok(plan));
}

#[test]
fn errors_name_the_step_and_the_cause() {
    for (text, error) in [
        ("<<stub", "expected JSON after `<<stub`: nothing there"),
        ("<<stub {\"a\":1}>>", "expected JSON"),
        ("<<stub [{\"say\":\"x\"}] no", "expected `>>` after the plan, got \"no\""),
        ("<<stub [{\"say\":\"x\"},{\"sya\":\"y\"}]>>", "step 1: unknown field `sya`"),
        ("<<stub [{}]>>", "step 0: says nothing"),
        ("<<stub [{\"spawn\":[{\"name\":\"a\"}]}]>>", "step 0: a spawn needs a plan or a task"),
        ("<<stub [{\"call\":[{\"name\":\"a\",\"arguments\":[]}]}]>>", "are an object"),
        ("<<stub [{\"yield\":3}]>>", "yield is true or an object"),
        ("<<stub [{\"say\":\"x\",\"repeat\":99999}]>>", "at most 10000 steps"),
    ] {
        let got = find(text).unwrap_err().to_string();
        assert!(got.contains(error), "{text}: {got}");
    }
}

#[test]
fn a_step_that_only_fails_is_no_turn_of_its_own() {
    let text = r#"<<stub [{"faults":[{"kind":"error","status":500,"times":1}]},
                          {"say":"a"},{"say":"b","repeat":2}]>>"#;
    assert_eq!(find(text).unwrap(), Plan::new().say("a").failing(500, 1).say("b").say("b"));
}

#[test]
fn the_position_follows_from_the_results_seen() {
    use Position::*;
    let plan = Plan::new().say("spawns").say_when_results(2, "both").say("end");
    #[rustfmt::skip]
    let table: [(&[u32], u32, Position); 9] = [
        // seen           now  position
        (&[],             0,   At(0)),
        (&[0],            0,   Waiting(1)),
        (&[0, 0],         1,   Waiting(1)),
        (&[0, 0, 1],      2,   At(1)),
        (&[0],            2,   At(1)),
        (&[0, 0, 1, 2],   2,   At(2)),
        (&[0, 2],         2,   At(2)),
        (&[0, 2, 2],      3,   Done),
        (&[0, 0, 0, 0],   1,   Waiting(1)),
    ];
    for (seen, now, expected) in table {
        assert_eq!(plan.position(seen, now), expected, "{seen:?}, now {now}");
    }
    let mut seen = vec![0; 1 + WAITS_MAX as usize];
    assert_eq!(plan.position(&seen, 1), GaveUp(1));
    seen.push(1);
    assert_eq!(plan.position(&seen, 2), Done);
}

#[test]
fn a_child_gets_its_path_its_plan_and_its_handle() {
    let leaf = Plan::new().say("I am {name}");
    let plan = Plan::named("root").spawn_many(2, "leaf", leaf.clone());
    let arguments = plan.steps[0].spawn[0].arguments(&plan.name);
    assert_eq!(arguments.len(), 2);
    assert_eq!(arguments[1]["label"], "root.leaf-2");
    assert_eq!(arguments[1]["taskName"], "leaf-2");
    let brief = arguments[1]["task"].as_str().unwrap();
    assert_eq!(find(brief), Ok(Plan { name: "root.leaf-2".to_owned(), ..leaf }));
}

#[test]
fn names_that_are_no_handles_stay_labels() {
    for (name, handle) in
        [("a_b-1", true), ("", false), ("1a", false), ("A", false), ("a.b", false)]
    {
        assert_eq!(is_task_name(name), handle, "{name:?}");
    }
}
