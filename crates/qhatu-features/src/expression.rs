//! Features made of others: `a + b`, `max(a, 0) / (b + 1)`. Four operations, the larger and the smaller
//! of two, parentheses, numbers, names.
//!
//! A part that is empty makes the whole empty, and so does a division by zero: nothing is made up. Empty
//! is NaN, for single values and for columns alike.

/// A parsed expression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expression {
    Number(f64),
    Name(String),
    Binary(Box<Expression>, Operation, Box<Expression>),
}

/// What is made of two numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Larger,
    Smaller,
}

impl Operation {
    fn of(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Add => left + right,
            Self::Subtract => left - right,
            Self::Multiply => left * right,
            Self::Divide if right == 0.0 => f64::NAN,
            Self::Divide => left / right,
            // f64::max would take the other where one is NaN.
            Self::Larger if left.is_nan() || right.is_nan() => f64::NAN,
            Self::Larger => left.max(right),
            Self::Smaller if left.is_nan() || right.is_nan() => f64::NAN,
            Self::Smaller => left.min(right),
        }
    }
}

const FUNCTIONS: &[(&str, Operation)] = &[("max", Operation::Larger), ("min", Operation::Smaller)];
const SUMS: &[(char, Operation)] = &[('+', Operation::Add), ('-', Operation::Subtract)];
const PRODUCTS: &[(char, Operation)] = &[('*', Operation::Multiply), ('/', Operation::Divide)];

impl Expression {
    /// Parses a text; the error says what stands where something else should.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LENGTH_MAX {
            return Err(format!("it has more than {LENGTH_MAX} characters"));
        }
        let mut parser = Parser { rest: text.trim_start(), depth: 0 };
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

    /// The same with other names.
    pub(crate) fn with_names(&self, rename: impl Fn(&str) -> String + Copy) -> Self {
        match self {
            Self::Number(number) => Self::Number(*number),
            Self::Name(name) => Self::Name(rename(name)),
            Self::Binary(left, operation, right) => Self::Binary(
                Box::new(left.with_names(rename)),
                *operation,
                Box::new(right.with_names(rename)),
            ),
        }
    }

    /// Its value, given those of the names; NaN where it has none.
    pub(crate) fn value(&self, of: &dyn Fn(&str) -> f64) -> f64 {
        match self {
            Self::Number(number) => *number,
            Self::Name(name) => of(name),
            Self::Binary(left, operation, right) => operation.of(left.value(of), right.value(of)),
        }
    }

    /// Its values in every row, given the columns of the names; a name without a column is empty.
    pub(crate) fn column<'a>(&self, rows: usize, of: &dyn Fn(&str) -> Option<&'a [f64]>) -> Vec<f64> {
        match self {
            Self::Number(number) => vec![*number; rows],
            Self::Name(name) => of(name).map_or_else(|| vec![f64::NAN; rows], <[f64]>::to_vec),
            Self::Binary(left, operation, right) => {
                let mut values = left.column(rows, of);
                match &**right {
                    Self::Number(number) => {
                        values.iter_mut().for_each(|value| *value = operation.of(*value, *number));
                    }
                    right => {
                        let others = right.column(rows, of);
                        for (value, other) in values.iter_mut().zip(others) {
                            *value = operation.of(*value, other);
                        }
                    }
                }
                values
            }
        }
    }
}

/// Texts longer than this are refused.
const LENGTH_MAX: usize = 4_000;
/// Parentheses deeper than this are refused.
const DEPTH_MAX: usize = 50;

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl Parser<'_> {
    fn sum(&mut self) -> Result<Expression, String> {
        self.chain(SUMS, Self::product)
    }

    fn product(&mut self) -> Result<Expression, String> {
        self.chain(PRODUCTS, Self::atom)
    }

    fn chain(
        &mut self,
        operators: &[(char, Operation)],
        part: fn(&mut Self) -> Result<Expression, String>,
    ) -> Result<Expression, String> {
        let mut left = part(self)?;
        let next = |rest: &str| operators.iter().find(|(sign, _)| rest.starts_with(*sign));
        while let Some((_, operation)) = next(self.rest) {
            self.skip(1);
            left = Expression::Binary(Box::new(left), *operation, Box::new(part(self)?));
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
                match FUNCTIONS.iter().find(|(own, _)| *own == name && self.rest.starts_with('(')) {
                    Some((_, operation)) => self.of_two(*operation),
                    None => Ok(Expression::Name(name)),
                }
            }
        }
    }

    fn parenthesis(&mut self) -> Result<Expression, String> {
        self.open()?;
        let inner = self.sum()?;
        self.close()?;
        Ok(inner)
    }

    /// `(a, b)` behind the name of a function.
    fn of_two(&mut self, operation: Operation) -> Result<Expression, String> {
        self.open()?;
        let left = self.sum()?;
        if !self.rest.starts_with(',') {
            return Err("max and min take two parts with a comma between".to_owned());
        }
        self.skip(1);
        let right = self.sum()?;
        self.close()?;
        Ok(Expression::Binary(Box::new(left), operation, Box::new(right)))
    }

    fn open(&mut self) -> Result<(), String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("it has too many parentheses".to_owned());
        }
        self.skip(1);
        Ok(())
    }

    fn close(&mut self) -> Result<(), String> {
        if !self.rest.starts_with(')') {
            return Err("a parenthesis is not closed".to_owned());
        }
        self.skip(1);
        self.depth -= 1;
        Ok(())
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest[bytes..].trim_start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The value, which single values and columns must agree on; none for NaN.
    fn value(text: &str) -> Option<f64> {
        let expression = Expression::parse(text).unwrap();
        let of = |name: &str| match name {
            "a" => 6.0,
            "b" => 3.0,
            "zero" => 0.0,
            _ => f64::NAN,
        };
        let value = expression.value(&of);
        let columns = [("a", [6.0]), ("b", [3.0]), ("zero", [0.0])];
        let column = expression.column(1, &|name| {
            columns.iter().find(|(own, _)| *own == name).map(|(_, values)| values.as_slice())
        });
        assert_eq!(value.to_bits(), column[0].to_bits(), "{text}");
        (!value.is_nan()).then_some(value)
    }

    #[test]
    fn products_before_sums_and_from_left_to_right() {
        assert_eq!(value("a + b * 2"), Some(12.0));
        assert_eq!(value("(a + b) * 2"), Some(18.0));
        assert_eq!(value("a - b - 1"), Some(2.0));
        assert_eq!(value("a / b / 2"), Some(1.0));
        assert_eq!(value("max(b - a, 0) + min(a, b)"), Some(3.0));
    }

    #[test]
    fn nothing_is_made_up() {
        assert_eq!(value("a / zero"), None);
        assert_eq!(value("a + missing"), None);
        assert_eq!(value("max(missing, a)"), None);
        assert_eq!(value("max"), None);
    }

    #[test]
    fn faults_are_said() {
        for text in [
            "",
            "a +",
            "(a",
            "a b",
            "a $ b",
            "1.2.3",
            "max(a)",
            "max(a, b",
            "max(a, b, a)",
            "a,b",
            &"(".repeat(1000),
            &"a+".repeat(1_000_000),
        ] {
            assert!(Expression::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "[-a-z0-9+*/(),. ]{0,60}") {
            let _ = Expression::parse(&text);
        }
    }
}
