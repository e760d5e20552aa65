//! Conditions on columns: `born < 1900 and (name prefix 'A' or name is null)`.
//!
//! ```text
//! condition  := all { "or" all }
//! all        := one { "and" one }
//! one        := "not" one | "(" condition ")" | NAME test
//! test       := ("=" | "!=" | "<" | "<=" | ">" | ">=") VALUE | "between" VALUE "and" VALUE | "prefix" VALUE
//!             | "in" "(" VALUE { "," VALUE } ")" | "is" ["not"] "null"
//! ```
//!
//! Names and values are words, or stand in single quotes, in which a quote is written twice.

use lsm::columnar::{Column, ColumnId, ColumnType, Comparison, Datum, Predicate, Schema};

/// What is wrong with a condition.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConditionError {
    #[error("a quote is opened and never closed")]
    OpenQuote,
    #[error("{expected} is missing {}", found.as_ref().map_or("at the end".to_owned(), |found| format!("before `{found}`")))]
    Expected { expected: &'static str, found: Option<String> },
    #[error("there is no column `{name}`; there are {known}")]
    NoColumn { name: String, known: String },
    #[error("`{value}` is no value of column `{column}`")]
    Value { column: String, value: String },
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Token {
    /// A name, a value, or a word of the language.
    Word(String),
    /// The same in quotes: never a word of the language.
    Quoted(String),
    Sign(&'static str),
}

/// A condition that was taken apart; what it borrows from is kept beside the predicate.
pub(crate) struct Condition {
    tokens: Vec<Token>,
}

impl Condition {
    pub(crate) fn new(text: &str) -> Result<Self, ConditionError> {
        Ok(Self { tokens: tokens(text)? })
    }

    /// The predicate that it is for a schema.
    pub(crate) fn predicate<'t>(&'t self, schema: &'t Schema) -> Result<Predicate<'t>, ConditionError> {
        let mut parser = Parser { rest: &self.tokens, schema };
        let predicate = parser.condition()?;
        match parser.rest.first() {
            None => Ok(predicate),
            Some(_) => Err(parser.expected("`and`, `or` or the end")),
        }
    }
}

const SIGNS: [&str; 9] = ["<=", ">=", "!=", "=", "<", ">", "(", ")", ","];

fn tokens(text: &str) -> Result<Vec<Token>, ConditionError> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('\'') {
            let (value, behind) = unquote(quoted)?;
            tokens.push(Token::Quoted(value));
            rest = behind;
        } else if let Some((sign, behind)) =
            SIGNS.iter().find_map(|sign| Some((*sign, rest.strip_prefix(sign)?)))
        {
            tokens.push(Token::Sign(sign));
            rest = behind;
        } else {
            let is_end = |c: char| c.is_whitespace() || "<>=!(),'".contains(c);
            // A lone `!` is a word that nobody knows.
            let end = rest.char_indices().skip(1).find(|(_, c)| is_end(*c)).map_or(rest.len(), |(at, _)| at);
            let (word, behind) = rest.split_at(end);
            tokens.push(Token::Word(word.to_owned()));
            rest = behind;
        }
        rest = rest.trim_start();
    }
    Ok(tokens)
}

/// What stands before the closing quote, and what behind it.
fn unquote(text: &str) -> Result<(String, &str), ConditionError> {
    let (mut value, mut rest) = (String::new(), text);
    loop {
        let (part, behind) = rest.split_once('\'').ok_or(ConditionError::OpenQuote)?;
        value.push_str(part);
        match behind.strip_prefix('\'') {
            Some(more) => {
                value.push('\'');
                rest = more;
            }
            None => return Ok((value, behind)),
        }
    }
}

struct Parser<'t> {
    rest: &'t [Token],
    schema: &'t Schema,
}

impl<'t> Parser<'t> {
    fn condition(&mut self) -> Result<Predicate<'t>, ConditionError> {
        let mut any = vec![self.all()?];
        while self.takes_word("or") {
            any.push(self.all()?);
        }
        Ok(Predicate::Or(any))
    }

    fn all(&mut self) -> Result<Predicate<'t>, ConditionError> {
        let mut all = vec![self.one()?];
        while self.takes_word("and") {
            all.push(self.one()?);
        }
        Ok(Predicate::And(all))
    }

    fn one(&mut self) -> Result<Predicate<'t>, ConditionError> {
        if self.takes_word("not") {
            return Ok(Predicate::Not(Box::new(self.one()?)));
        }
        if self.takes_sign("(") {
            let inner = self.condition()?;
            self.sign(")", "`)`")?;
            return Ok(inner);
        }
        let column = self.column()?;
        self.test(column)
    }

    fn test(&mut self, column: &'t Column) -> Result<Predicate<'t>, ConditionError> {
        let id = column.id();
        let comparisons = [
            ("=", Comparison::Eq),
            ("!=", Comparison::Ne),
            ("<=", Comparison::Le),
            ("<", Comparison::Lt),
            (">=", Comparison::Ge),
            (">", Comparison::Gt),
        ];
        for (sign, comparison) in comparisons {
            if self.takes_sign(sign) {
                return Ok(Predicate::Compare(id, comparison, self.value(column)?));
            }
        }
        if self.takes_word("between") {
            let lower = self.value(column)?;
            if !self.takes_word("and") {
                return Err(self.expected("`and`"));
            }
            return Ok(Predicate::Between(id, lower, self.value(column)?));
        }
        if self.takes_word("prefix") {
            return match self.value(column)? {
                Datum::Bytes(prefix) => Ok(Predicate::Prefix(id, prefix)),
                _ => Err(self.expected("a column of text")),
            };
        }
        if self.takes_word("in") {
            return self.list(id, column);
        }
        if self.takes_word("is") {
            let is_not = self.takes_word("not");
            if !self.takes_word("null") {
                return Err(self.expected("`null`"));
            }
            return Ok(if is_not { Predicate::IsNotNull(id) } else { Predicate::IsNull(id) });
        }
        Err(self.expected("a comparison"))
    }

    fn list(&mut self, id: ColumnId, column: &'t Column) -> Result<Predicate<'t>, ConditionError> {
        self.sign("(", "`(`")?;
        let mut list = vec![self.value(column)?];
        while self.takes_sign(",") {
            list.push(self.value(column)?);
        }
        self.sign(")", "`)`")?;
        Ok(Predicate::In(id, list))
    }

    fn column(&mut self) -> Result<&'t Column, ConditionError> {
        let name = self.text("a column")?;
        self.schema.by_name(name).ok_or_else(|| {
            let known: Vec<_> = self.schema.columns().iter().map(|c| format!("`{}`", c.name())).collect();
            ConditionError::NoColumn { name: name.to_owned(), known: known.join(", ") }
        })
    }

    fn value(&mut self, column: &Column) -> Result<Datum<'t>, ConditionError> {
        let text = self.text("a value")?;
        let wrong = || ConditionError::Value { column: column.name().to_owned(), value: text.to_owned() };
        datum(column.ty(), text).ok_or_else(wrong)
    }

    fn text(&mut self, expected: &'static str) -> Result<&'t str, ConditionError> {
        match self.rest.split_first() {
            Some((Token::Word(text) | Token::Quoted(text), rest)) => {
                self.rest = rest;
                Ok(text)
            }
            _ => Err(self.expected(expected)),
        }
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let is_it = |token: &Token| matches!(token, Token::Word(found) if found.eq_ignore_ascii_case(word));
        self.takes(is_it)
    }

    fn takes_sign(&mut self, sign: &str) -> bool {
        self.takes(|token| matches!(token, Token::Sign(found) if *found == sign))
    }

    fn sign(&mut self, sign: &str, expected: &'static str) -> Result<(), ConditionError> {
        if self.takes_sign(sign) { Ok(()) } else { Err(self.expected(expected)) }
    }

    fn takes(&mut self, is_it: impl Fn(&Token) -> bool) -> bool {
        match self.rest.split_first() {
            Some((first, rest)) if is_it(first) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn expected(&self, expected: &'static str) -> ConditionError {
        let found = self.rest.first().map(|token| match token {
            Token::Word(text) | Token::Quoted(text) => text.clone(),
            Token::Sign(sign) => (*sign).to_owned(),
        });
        ConditionError::Expected { expected, found }
    }
}

/// The value of a column that `text` says; decimals with all their digits after the point.
fn datum(ty: ColumnType, text: &str) -> Option<Datum<'_>> {
    use ColumnType as T;
    Some(match ty {
        T::Bool => Datum::Bool(text.parse().ok()?),
        T::U8 => Datum::U64(text.parse::<u8>().ok()?.into()),
        T::U16 => Datum::U64(text.parse::<u16>().ok()?.into()),
        T::U32 => Datum::U64(text.parse::<u32>().ok()?.into()),
        T::U64 => Datum::U64(text.parse().ok()?),
        T::U128 => Datum::U128(text.parse().ok()?),
        T::I8 => Datum::I64(text.parse::<i8>().ok()?.into()),
        T::I16 => Datum::I64(text.parse::<i16>().ok()?.into()),
        T::I32 => Datum::I64(text.parse::<i32>().ok()?.into()),
        T::I64 | T::Timestamp => Datum::I64(text.parse().ok()?),
        T::I128 => Datum::I128(text.parse().ok()?),
        T::F32 => Datum::F32(text.parse().ok()?),
        T::F64 => Datum::F64(text.parse().ok()?),
        T::Decimal { precision, scale } => {
            let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
            let scale = usize::from(scale);
            let number = format!("{whole}{fraction:0<scale$}");
            let number: i128 = if fraction.len() <= scale { number.parse().ok()? } else { return None };
            if precision > 18 { Datum::I128(number) } else { Datum::I64(number.try_into().ok()?) }
        }
        T::Utf8 | T::Bytes => Datum::Bytes(text.as_bytes()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::parse_schema;

    fn schema() -> Schema {
        parse_schema("x:i32,name:text?,price:decimal(10.2)?,in:bool").unwrap()
    }

    #[track_caller]
    fn check(text: &str, expected: Predicate<'_>) {
        let (condition, schema) = (Condition::new(text).unwrap(), schema());
        let all = Predicate::Or(vec![Predicate::And(vec![expected])]);
        assert_eq!(condition.predicate(&schema).unwrap(), all, "{text}");
    }

    #[track_caller]
    fn check_refused(text: &str, told: &str) {
        let schema = schema();
        let condition = Condition::new(text);
        let error = match &condition {
            Ok(condition) => condition.predicate(&schema).unwrap_err().to_string(),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(told), "{text}: {error}");
    }

    const X: ColumnId = ColumnId::new(16);
    const NAME: ColumnId = ColumnId::new(17);
    const PRICE: ColumnId = ColumnId::new(18);
    const IN: ColumnId = ColumnId::new(19);

    #[test]
    fn conditions_are_taken_apart() {
        check("x>3", Predicate::Compare(X, Comparison::Gt, Datum::I64(3)));
        check(" x != -3 ", Predicate::Compare(X, Comparison::Ne, Datum::I64(-3)));
        check("name = 'it''s'", Predicate::Compare(NAME, Comparison::Eq, "it's".into()));
        check("price <= 1.5", Predicate::Compare(PRICE, Comparison::Le, Datum::I64(150)));
        check("x between 1 and 5", Predicate::Between(X, Datum::I64(1), Datum::I64(5)));
        check("x IN (1,2)", Predicate::In(X, vec![Datum::I64(1), Datum::I64(2)]));
        check("name is not null", Predicate::IsNotNull(NAME));
        check("name prefix A", Predicate::Prefix(NAME, b"A"));
        check("in = true", Predicate::Compare(IN, Comparison::Eq, Datum::Bool(true)));
        check("'in' = true", Predicate::Compare(IN, Comparison::Eq, Datum::Bool(true)));
        check("not name is null", Predicate::Not(Box::new(Predicate::IsNull(NAME))));
        let both = "x > 3 and x < 5 or name = and";
        let condition = Condition::new(both).unwrap();
        let compare = |comparison, number| Predicate::Compare(X, comparison, Datum::I64(number));
        let expected = Predicate::Or(vec![
            Predicate::And(vec![compare(Comparison::Gt, 3), compare(Comparison::Lt, 5)]),
            Predicate::And(vec![Predicate::Compare(NAME, Comparison::Eq, "and".into())]),
        ]);
        assert_eq!(condition.predicate(&schema()).unwrap(), expected);
    }

    #[test]
    fn what_is_no_condition_is_refused_with_its_place() {
        check_refused("", "a column is missing at the end");
        check_refused("y = 3", "there are `x`, `name`, `price`, `in`");
        check_refused("x 3", "a comparison is missing before `3`");
        check_refused("x = many", "`many` is no value of column `x`");
        check_refused("x = 3 name", "`and`, `or` or the end is missing before `name`");
        check_refused("name = 'a", "never closed");
        check_refused("price = 1.234", "no value of column `price`");
        check_refused("(x = 1", "`)` is missing at the end");
        check_refused("x prefix 1", "a column of text");
        check_refused("x = 5000000000", "no value of column `x`");
    }
}
