//! Accounts as they are asked for, checked in form; what is wrong is told field by field.

use base::{FieldProblem, Problem, Role};

use crate::SignUp;
use crate::phone::Phone;

const NAME_MAX: usize = 100;
const PASSWORD_MIN: usize = 8;
/// Hashing reads the whole text: without an end to it a login is a lever.
const PASSWORD_MAX: usize = 200;

/// An account that may be created.
pub(crate) struct NewAccount {
    pub phone: Phone,
    pub password: String,
    pub name: String,
    pub role: Role,
}

impl NewAccount {
    /// Riders and drivers make themselves; admins are made on the command line only.
    pub(crate) fn public(asked: SignUp) -> Result<Self, Problem> {
        let mut problems = Vec::new();
        if asked.role == Role::Admin {
            problems.push(problem("role", "invalid", "must be rider or driver"));
        }
        Self::parse(asked, problems)
    }

    /// Any role, admins included.
    pub(crate) fn any(asked: SignUp) -> Result<Self, Problem> {
        Self::parse(asked, Vec::new())
    }

    fn parse(asked: SignUp, mut problems: Vec<FieldProblem>) -> Result<Self, Problem> {
        let phone = Phone::parse(&asked.phone);
        if let Err(why) = &phone {
            problems.push(problem("phone", "invalid", &why.to_string()));
        }
        problems.extend(password_problem(&asked.password));
        let name = asked.name.trim();
        problems.extend(name_problem(name));
        match phone {
            Ok(phone) if problems.is_empty() => {
                let name = name.to_owned();
                Ok(Self { phone, password: asked.password, name, role: asked.role })
            }
            _ => Err(Problem::fields(problems)),
        }
    }
}

/// A phone that somebody logs in with.
pub(crate) fn phone_field(text: &str) -> Result<Phone, Problem> {
    Phone::parse(text).map_err(|why| Problem::field("phone", "invalid", &why.to_string()))
}

fn password_problem(password: &str) -> Option<FieldProblem> {
    let length = password.chars().count();
    let letter = password.chars().any(char::is_alphabetic);
    let digit = password.chars().any(char::is_numeric);
    let fits = (PASSWORD_MIN..=PASSWORD_MAX).contains(&length);
    (!fits || !letter || !digit)
        .then(|| problem("password", "weak", "must have 8 to 200 characters, a letter and a digit"))
}

fn name_problem(name: &str) -> Option<FieldProblem> {
    let length = name.chars().count();
    if name.chars().any(char::is_control) {
        return Some(problem("name", "invalid", "must not have control characters"));
    }
    (!(1..=NAME_MAX).contains(&length))
        .then(|| problem("name", "length", "must have 1 to 100 characters"))
}

fn problem(field: &str, code: &str, message: &str) -> FieldProblem {
    FieldProblem { field: field.to_owned(), code: code.to_owned(), message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(phone: &str, password: &str, name: &str, role: Role, expected: &str) {
        let asked =
            SignUp { phone: phone.into(), password: password.into(), name: name.into(), role };
        let found = match NewAccount::public(asked) {
            Ok(account) => format!("{} {}", account.phone.as_str(), account.name),
            Err(problem) => {
                let fields = problem.details["fields"].as_array().cloned().unwrap_or_default();
                fields.iter().map(|f| format!("{}:{} ", f["field"], f["code"])).collect()
            }
        };
        assert_eq!(found.replace('"', "").trim(), expected);
    }

    #[test]
    fn an_account_is_checked_field_by_field() {
        check("01012345678", "tahrir99", "  Ali ", Role::Rider, "+201012345678 Ali");
        check("01012345678", "تحرير٢٠١١", "علي", Role::Driver, "+201012345678 علي");
        check("01312345678", "tahrir99", "Ali", Role::Rider, "phone:invalid");
        check("01012345678", "tahrir9", "Ali", Role::Rider, "password:weak");
        check("01012345678", "tahrirtahrir", "Ali", Role::Rider, "password:weak");
        check("01012345678", "12345678", "Ali", Role::Rider, "password:weak");
        check("01012345678", &"a1".repeat(101), "Ali", Role::Rider, "password:weak");
        check("01012345678", "tahrir99", "  ", Role::Rider, "name:length");
        check("01012345678", "tahrir99", "A\u{0}li", Role::Rider, "name:invalid");
        check("01012345678", "tahrir99", "Ali", Role::Admin, "role:invalid");
        check("x", "y", "", Role::Rider, "phone:invalid password:weak name:length");
    }
}
