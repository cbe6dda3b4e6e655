//! Features made of others: `a + b`, `a / (b + 1)`. Four operations, parentheses, numbers, names.
//!
//! A part that is empty makes the whole empty, and so does a division by zero: nothing is made up.

/// A parsed expression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expression {
    Number(f64),
    Name(String),
    Binary(Box<Expression>, char, Box<Expression>),
}

impl Expression {
    /// Parses a text; the error says what stands where something else should.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { rest: text.trim_start(), depth: 0, operations: 0 };
        let whole = parser.sum()?;
        if parser.rest.is_empty() { Ok(whole) } else { Err(format!("{:?} is left over", parser.rest)) }
    }

    /// The names it uses.
    pub(crate) fn names<'a>(&'a self, names: &mut Vec<&'a str>) {
        match self {
            Self::Number(_) => {}
            Self::Name(name) => names.push(name),
            Self::Binary(left, _, right) => {
                left.names(names);
                right.names(names);
            }
        }
    }

    /// Its value, given those of the names.
    pub(crate) fn value(&self, of: &dyn Fn(&str) -> Option<f64>) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Name(name) => of(name),
            Self::Binary(left, operator, right) => {
                let (left, right) = (left.value(of)?, right.value(of)?);
                match operator {
                    '+' => Some(left + right),
                    '-' => Some(left - right),
                    '*' => Some(left * right),
                    _ => (right != 0.0).then(|| left / right),
                }
            }
        }
    }
}

/// Parentheses deeper than this are refused.
const DEPTH_MAX: usize = 50;
/// More operations than these are refused: each lies within the next, and their depth needs stack.
const OPERATIONS_MAX: usize = 1000;

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
    operations: usize,
}

impl Parser<'_> {
    fn sum(&mut self) -> Result<Expression, String> {
        self.chain(&['+', '-'], Self::product)
    }

    fn product(&mut self) -> Result<Expression, String> {
        self.chain(&['*', '/'], Self::atom)
    }

    fn chain(
        &mut self,
        operators: &[char],
        part: fn(&mut Self) -> Result<Expression, String>,
    ) -> Result<Expression, String> {
        let mut left = part(self)?;
        while let Some(operator) = self.rest.chars().next().filter(|c| operators.contains(c)) {
            self.skip(1);
            self.operations += 1;
            if self.operations > OPERATIONS_MAX {
                return Err(format!("it has more than {OPERATIONS_MAX} operations"));
            }
            left = Expression::Binary(Box::new(left), operator, Box::new(part(self)?));
        }
        Ok(left)
    }

    fn atom(&mut self) -> Result<Expression, String> {
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.');
        let word = &self.rest[..end.unwrap_or(self.rest.len())];
        match (word, self.rest.chars().next()) {
            ("", Some('(')) => self.parenthesis(),
            ("", Some(other)) => Err(format!("{other:?} stands where a name or number should")),
            ("", None) => Err("it ends where a name or number should stand".to_owned()),
            (word, _) if word.starts_with(|c: char| c.is_ascii_digit()) => {
                let number = word.parse().map_err(|_| format!("{word:?} is no number"))?;
                self.skip(word.len());
                Ok(Expression::Number(number))
            }
            (word, _) => {
                let (name, length) = (word.to_owned(), word.len());
                self.skip(length);
                Ok(Expression::Name(name))
            }
        }
    }

    fn parenthesis(&mut self) -> Result<Expression, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("it has too many parentheses".to_owned());
        }
        self.skip(1);
        let inner = self.sum()?;
        if !self.rest.starts_with(')') {
            return Err("a parenthesis is not closed".to_owned());
        }
        self.skip(1);
        self.depth -= 1;
        Ok(inner)
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest[bytes..].trim_start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(text: &str) -> Option<f64> {
        Expression::parse(text).unwrap().value(&|name| match name {
            "a" => Some(6.0),
            "b" => Some(3.0),
            "zero" => Some(0.0),
            _ => None,
        })
    }

    #[test]
    fn products_before_sums_and_from_left_to_right() {
        assert_eq!(value("a + b * 2"), Some(12.0));
        assert_eq!(value("(a + b) * 2"), Some(18.0));
        assert_eq!(value("a - b - 1"), Some(2.0));
        assert_eq!(value("a / b / 2"), Some(1.0));
    }

    #[test]
    fn nothing_is_made_up() {
        assert_eq!(value("a / zero"), None);
        assert_eq!(value("a + missing"), None);
    }

    #[test]
    fn faults_are_said() {
        for text in ["", "a +", "(a", "a b", "a $ b", "1.2.3", &"(".repeat(1000), &"a+".repeat(1_000_000)] {
            assert!(Expression::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "[-a-z0-9+*/(). ]{0,60}") {
            let _ = Expression::parse(&text);
        }
    }
}
