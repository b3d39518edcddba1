//! Random programs behave on the local scheduler as the model of its rules says, on this build's default backend.

use tasklet::backend::Default as Backend;
use tasklet_testkit::differential::{self, Difference, interpreter};
use tasklet_testkit::kinds::StackKind;

#[test]
fn every_program_has_the_log_the_model_gives() {
    differential::check::<Backend>(&differential::programs());
}

#[test]
fn there_are_hundreds_of_programs_of_every_theme() {
    let programs = differential::programs();
    let events: usize = programs.iter().map(|program| program.log.len()).sum();
    assert!(programs.len() >= 400, "{} programs", programs.len());
    assert!(events >= 20_000, "{events} events");
}

#[test]
fn an_altered_log_is_told_from_the_right_one() {
    for program in differential::programs().iter().step_by(40) {
        let found = interpreter::run::<Backend>(program, StackKind::Private);
        let last = found.len() - 1;
        for index in [0, found.len() / 2, last] {
            let mut altered = program.clone();
            altered.log[index].push('?');
            let difference = Difference::between(&altered, &found).expect("an event is not as expected");
            assert_eq!(difference.index(), index);
            let text = difference.to_string();
            assert!(text.contains(&program.name) && text.contains(&altered.log[index]), "{text}");
        }
        let mut shorter = program.clone();
        shorter.log.pop();
        assert_eq!(Difference::between(&shorter, &found).map(|difference| difference.index()), Some(last));
        let mut longer = program.clone();
        longer.log.push("m>a".to_owned());
        assert_eq!(Difference::between(&longer, &found).map(|difference| difference.index()), Some(last + 1));
    }
}

#[test]
#[should_panic(expected = "1 of 2 programs differ")]
fn an_altered_log_fails_the_check() {
    let mut programs = differential::programs();
    programs.truncate(2);
    programs[1].log[0] = "m0=deadlock".to_owned();
    differential::check::<Backend>(&programs);
}
