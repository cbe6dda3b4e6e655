//! Departments of Peru, by the first two digits of INEI's ubigeo.

use serde::{Deserialize, Serialize};

/// One of the 24 departments of Peru or the province of Callao, by its number in INEI's ubigeo: 1 (Amazonas) to 25
/// (Ucayali).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Department(u8);

impl Department {
    /// How many there are.
    pub const COUNT: usize = 25;

    /// The department of a ubigeo of six digits; `None` where its first two are no department's.
    ///
    /// ```
    /// # use qhatu_schema::Department;
    /// assert_eq!(Department::of_ubigeo("150101").map(Department::number), Some(15));
    /// assert_eq!(Department::of_ubigeo("990101"), None);
    /// ```
    pub fn of_ubigeo(ubigeo: &str) -> Option<Self> {
        let is_code = ubigeo.len() == 6 && ubigeo.bytes().all(|byte| byte.is_ascii_digit());
        let number: u8 = ubigeo.get(..2).filter(|_| is_code)?.parse().ok()?;
        Self::try_from(number).ok()
    }

    /// Its number, from 1.
    pub fn number(self) -> u8 {
        self.0
    }

    /// Its name, as INEI writes it.
    ///
    /// ```
    /// # use qhatu_schema::Department;
    /// assert_eq!(Department::of_ubigeo("080101").map(Department::name), Some("Cusco"));
    /// ```
    pub fn name(self) -> &'static str {
        NAMES[usize::from(self.0) - 1]
    }
}

/// By number.
const NAMES: [&str; Department::COUNT] = [
    "Amazonas",
    "Áncash",
    "Apurímac",
    "Arequipa",
    "Ayacucho",
    "Cajamarca",
    "Callao",
    "Cusco",
    "Huancavelica",
    "Huánuco",
    "Ica",
    "Junín",
    "La Libertad",
    "Lambayeque",
    "Lima",
    "Loreto",
    "Madre de Dios",
    "Moquegua",
    "Pasco",
    "Piura",
    "Puno",
    "San Martín",
    "Tacna",
    "Tumbes",
    "Ucayali",
];

impl TryFrom<u8> for Department {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        match usize::from(number) {
            1..=Self::COUNT => Ok(Self(number)),
            _ => Err(format!("{number} is not a department of Peru: 1 (Amazonas) to 25 (Ucayali)")),
        }
    }
}

impl From<Department> for u8 {
    fn from(department: Department) -> Self {
        department.0
    }
}
