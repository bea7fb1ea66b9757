use super::*;

fn budget(sums: Sums) -> Budget {
    let per = crate::bundle::Holder::Agent;
    let (name, claim) = ("day".to_owned(), "day".to_owned());
    Budget { name, per, window: 60, sums, actions: vec![1, 3], claim }
}

fn taken(claim: &str, sums: Sums) -> Option<Amount> {
    let claim: Taken<'_> = crate::json::from_slice(claim.as_bytes()).ok()?;
    claim.find(&budget(sums))
}

#[test]
fn what_is_taken_is_read_in_the_unit_of_its_budget_alone() {
    let money = || Sums::Money("amount".to_owned(), "EUR".to_owned());
    let decimal = || Sums::Decimal("weight".to_owned());
    let whole = || Sums::Integer("count".to_owned());
    let read = |claim, sums| taken(claim, sums).map(|amount| amount.to_string());
    assert_eq!(read(r#"{"day":"5.5 EUR"}"#, money()).as_deref(), Some("5.5000 EUR"));
    assert_eq!(read(r#"{"x":1,"day":"5.5"}"#, decimal()).as_deref(), Some("5.5000"));
    assert_eq!(read(r#"{"day":3}"#, whole()).as_deref(), Some("3"));
    assert_eq!(read(r#"{"day":3}"#, Sums::Uses).as_deref(), Some("3"));
    for (claim, sums) in [
        (r#"{"day":"5.5 USD"}"#, money()),
        (r#"{"day":"5.5"}"#, money()),
        (r#"{"day":5}"#, money()),
        (r#"{"day":"5.5 EUR"}"#, decimal()),
        (r#"{"day":5}"#, decimal()),
        (r#"{"day":"3"}"#, whole()),
        (r#"{"day":true}"#, Sums::Uses),
        (r#"{"days":3}"#, Sums::Uses),
        (r#"{}"#, Sums::Uses),
    ] {
        assert_eq!(read(claim, sums), None, "{claim}");
    }
}

#[test]
fn a_claim_that_is_no_list_of_sums_is_none() {
    let read = |claim: &str| crate::json::from_slice::<Taken<'_>>(claim.as_bytes()).is_ok();
    assert!(read("{}"));
    assert!(read(r#"{"day":3}"#));
    for claim in [r#"{"day":null}"#, r#"{"day":[3]}"#, r#"{"day":3,"day":2}"#, r#"{"day":1.5}"#] {
        assert!(!read(claim), "{claim}");
    }
    let many = |count: usize| {
        let all: Vec<String> = (0..count).map(|nth| format!("\"b{nth}\":1")).collect();
        format!("{{{}}}", all.join(","))
    };
    assert!(read(&many(MAX_BUDGETS)));
    assert!(!read(&many(MAX_BUDGETS + 1)));
}

#[test]
fn an_action_is_under_the_budgets_that_name_it() {
    let all = [budget(Sums::Uses)];
    for (action, is_under) in [(0, false), (1, true), (2, false), (3, true)] {
        let budgets = Budgets::of(&all, action);
        assert_eq!(budgets.iter().count() == 1, is_under, "{action}");
        assert_eq!(budgets.find(0).is_some(), is_under, "{action}");
        assert!(budgets.find(1).is_none());
    }
}

#[test]
fn what_is_written_is_read_again() {
    for (sums, steps) in [
        (Sums::Uses, 7),
        (Sums::Integer("n".to_owned()), i64::MAX),
        (Sums::Decimal("n".to_owned()), -12_345),
        (Sums::Money("n".to_owned(), "EUR".to_owned()), i64::MAX),
    ] {
        let amount = Amount::of(&sums, steps).unwrap();
        let claim = serde_json::json!({ "day": amount }).to_string();
        assert_eq!(taken(&claim, sums).map(Amount::steps), Some(steps), "{claim}");
    }
    assert_eq!(Amount::of(&Sums::Money("n".to_owned(), "euro".to_owned()), 1), None);
}

#[test]
fn a_name_begins_with_a_letter_and_goes_on_with_letters_digits_and_underscores() {
    for name in ["a", "day", "day_2", "a1", "a__", &"a".repeat(64)] {
        assert!(is_name(name), "{name}");
    }
    for name in ["", "1a", "_a", "A", "dAy", "a-b", "a.b", "a b", "é", "aé", &"a".repeat(65)] {
        assert!(!is_name(name), "{name}");
    }
}

/// What a gatepass says takes room in the cache of those that were verified.
#[test]
fn what_is_kept_of_a_claim_is_weighed() {
    let weight =
        |claim: &str| crate::json::from_slice::<Taken<'_>>(claim.as_bytes()).unwrap().weight();
    assert_eq!(weight("{}"), 0);
    let place = size_of::<(&str, Literal<'_>)>();
    let (one, two) = (weight(r#"{"a":1}"#), weight(r#"{"a":1,"b":"2 EUR"}"#));
    assert!(one >= place && two >= 2 * place, "{one} {two}");
    // A text with an escape is no part of the payload.
    let (plain, escaped) = (weight(r#"{"a":"x EUR"}"#), weight(r#"{"a":"\u0078 EUR"}"#));
    assert!(escaped >= plain + "x EUR".len(), "{plain} {escaped}");
}

#[test]
fn what_is_no_claim_is_told_of() {
    let told = crate::json::from_slice::<Taken<'_>>(b"{\"day\":[]}").unwrap_err().to_string();
    assert!(!told.is_empty());
    #[derive(Debug, serde::Deserialize)]
    struct Whole<'a> {
        #[serde(borrow, rename = "budget")]
        _budget: Taken<'a>,
    }
    let told = crate::json::from_slice::<Whole<'_>>(b"{\"budget\":1}").unwrap_err().to_string();
    assert!(told.contains("at most 32 budgets"), "{told}");
}
