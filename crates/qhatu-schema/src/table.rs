//! Tables: named columns of equal length with gaps. The plain type in which crates hand each other
//! tabular data, so that only the store knows Parquet.

use crate::{LimaDay, Timestamp};

/// Why a table cannot take a column.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// Its length is not the table's.
    #[error("column {name} has {rows} rows where the table has {expected}")]
    Length {
        /// The column's name.
        name: String,
        /// Its rows.
        rows: usize,
        /// The table's rows.
        expected: usize,
    },
    /// There is one of that name.
    #[error("there are two columns of the name {name}")]
    Twice {
        /// The name.
        name: String,
    },
    /// Values of one kind where another is kept.
    #[error("values of kind {found} cannot follow values of kind {expected}")]
    Kind {
        /// What is kept.
        expected: &'static str,
        /// What came.
        found: &'static str,
    },
    /// Two tables with other columns.
    #[error("a table with columns {found} cannot follow one with columns {expected}")]
    Columns {
        /// The columns that there are.
        expected: String,
        /// Those that came.
        found: String,
    },
}

/// The values of one column; `None` is a gap.
#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    /// Whole numbers.
    Int(Vec<Option<i64>>),
    /// Numbers.
    Float(Vec<Option<f64>>),
    /// Texts.
    Text(Vec<Option<String>>),
    /// Truth values.
    Bool(Vec<Option<bool>>),
    /// Points in time.
    Time(Vec<Option<Timestamp>>),
    /// Days in Lima.
    Day(Vec<Option<LimaDay>>),
}

impl Column {
    /// Number of rows, gaps included.
    pub fn rows(&self) -> usize {
        match self {
            Self::Int(values) => values.len(),
            Self::Float(values) => values.len(),
            Self::Text(values) => values.len(),
            Self::Bool(values) => values.len(),
            Self::Time(values) => values.len(),
            Self::Day(values) => values.len(),
        }
    }

    /// What kind of values it holds, as messages name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Text(_) => "text",
            Self::Bool(_) => "bool",
            Self::Time(_) => "time",
            Self::Day(_) => "day",
        }
    }

    /// Puts the values of `other` behind its own.
    ///
    /// # Errors
    /// [`TableError::Kind`] where they are of another kind.
    pub fn extend(&mut self, other: Self) -> Result<(), TableError> {
        match (self, other) {
            (Self::Int(values), Self::Int(more)) => values.extend(more),
            (Self::Float(values), Self::Float(more)) => values.extend(more),
            (Self::Text(values), Self::Text(more)) => values.extend(more),
            (Self::Bool(values), Self::Bool(more)) => values.extend(more),
            (Self::Time(values), Self::Time(more)) => values.extend(more),
            (Self::Day(values), Self::Day(more)) => values.extend(more),
            (own, other) => return Err(TableError::Kind { expected: own.kind(), found: other.kind() }),
        }
        Ok(())
    }
}

/// Columns of equal length, in an order, each with a name of its own.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    columns: Vec<(String, Column)>,
}

impl Table {
    /// A table without columns.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a column at the right.
    ///
    /// # Errors
    /// [`TableError`] when its length or name does not fit.
    pub fn push(&mut self, name: impl Into<String>, column: Column) -> Result<(), TableError> {
        let name = name.into();
        if self.column(&name).is_some() {
            return Err(TableError::Twice { name });
        }
        match self.columns.first() {
            Some((_, first)) if first.rows() != column.rows() => {
                Err(TableError::Length { name, rows: column.rows(), expected: first.rows() })
            }
            _ => {
                self.columns.push((name, column));
                Ok(())
            }
        }
    }

    /// Puts the rows of a table with the same columns below its own; an empty table takes any columns.
    ///
    /// # Errors
    /// [`TableError`] where names or kinds differ; the table may then hold a part of the rows and
    /// should be dropped.
    pub fn extend(&mut self, other: Self) -> Result<(), TableError> {
        if self.columns.is_empty() {
            *self = other;
            return Ok(());
        }
        let names = |table: &Self| table.columns.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        let (own, theirs) = (names(self), names(&other));
        if own != theirs {
            return Err(TableError::Columns { expected: own.join(", "), found: theirs.join(", ") });
        }
        let mut pairs = self.columns.iter_mut().zip(other.columns);
        pairs.try_for_each(|((_, column), (_, more))| column.extend(more))
    }

    /// Number of rows; 0 without columns.
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, |(_, column)| column.rows())
    }

    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|(known, _)| known == name).map(|(_, column)| column)
    }

    /// All columns in their order.
    pub fn columns(&self) -> &[(String, Column)] {
        &self.columns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_must_fit_together() {
        let mut table = Table::new();
        table.push("a", Column::Int(vec![Some(1), None])).unwrap();
        assert!(table.push("a", Column::Int(vec![None, None])).is_err());
        assert!(table.push("b", Column::Bool(vec![Some(true)])).is_err());
        table.push("b", Column::Text(vec![None, Some("x".into())])).unwrap();
        assert_eq!((table.rows(), table.columns().len()), (2, 2));
    }

    #[test]
    fn rows_follow_rows_of_the_same_columns_only() {
        let table = |name: &str, column| {
            let mut table = Table::new();
            table.push(name, column).unwrap();
            table
        };
        let mut whole = Table::new();
        whole.extend(table("a", Column::Int(vec![Some(1)]))).unwrap();
        whole.extend(table("a", Column::Int(vec![None]))).unwrap();
        assert_eq!(whole, table("a", Column::Int(vec![Some(1), None])));
        assert!(matches!(whole.extend(table("b", Column::Int(vec![]))), Err(TableError::Columns { .. })));
        assert!(matches!(whole.extend(table("a", Column::Bool(vec![]))), Err(TableError::Kind { .. })));
    }
}
