use super::*;

#[test]
fn probe() {
    for y in ["", "a: 1"] {
        let out = compile(y);
        println!("{out:?}");
    }
}
