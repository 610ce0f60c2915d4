//! The named tables of the whole-job bench, planted once and used again.

use std::path::{Path, PathBuf};

use nichemine::planted::{self, PlantError, Planting};

/// A planted table and how it is mined.
pub struct Case {
    pub name: &'static str,
    pub planting: Planting,
    /// Changes to the job of a planted table, as `--set` takes them.
    pub settings: &'static [&'static str],
}

/// Names and what they stand for, for messages.
pub const NAMED: &str = "small (200,000 x 12), syn1m (1,000,000 x 20), wide (2,458,285 x 68, 1 %), deep (1,000,000 x 12, \
                         level 5), long (10,000,000 x 12), tail (1,000,000 x 10, one feature with 20,000 items)";

/// The attributes of "US Census Data (1990)" (UCI Machine Learning Repository, doi 10.24432/C5VP42) with the numbers of
/// values that occur, 396 in all; but for iRemplpar, iRPOB and iYearsch, of which SliceLine (Sagadeeva and Boehm, 2021)
/// made 10 bins each in place of 16, 14 and 18 values. That gives the 378 one-hot columns it reports.
const US_CENSUS_1990: [(&str, usize); 68] = [
    ("dAge", 8),
    ("dAncstry1", 12),
    ("dAncstry2", 12),
    ("iAvail", 5),
    ("iCitizen", 5),
    ("iClass", 10),
    ("dDepart", 6),
    ("iDisabl1", 3),
    ("iDisabl2", 3),
    ("iEnglish", 5),
    ("iFeb55", 2),
    ("iFertil", 14),
    ("dHispanic", 10),
    ("dHour89", 6),
    ("dHours", 6),
    ("iImmigr", 11),
    ("dIncome1", 5),
    ("dIncome2", 2),
    ("dIncome3", 2),
    ("dIncome4", 2),
    ("dIncome5", 2),
    ("dIncome6", 2),
    ("dIncome7", 2),
    ("dIncome8", 2),
    ("dIndustry", 13),
    ("iKorean", 2),
    ("iLang1", 3),
    ("iLooking", 3),
    ("iMarital", 5),
    ("iMay75880", 2),
    ("iMeans", 13),
    ("iMilitary", 5),
    ("iMobility", 3),
    ("iMobillim", 3),
    ("dOccup", 9),
    ("iOthrserv", 2),
    ("iPerscare", 3),
    ("dPOB", 7),
    ("dPoverty", 3),
    ("dPwgt1", 4),
    ("iRagechld", 5),
    ("dRearning", 6),
    ("iRelat1", 14),
    ("iRelat2", 10),
    ("iRemplpar", 10),
    ("iRiders", 9),
    ("iRlabor", 7),
    ("iRownchld", 2),
    ("dRpincome", 6),
    ("iRPOB", 10),
    ("iRrelchld", 2),
    ("iRspouse", 7),
    ("iRvetserv", 12),
    ("iSchool", 4),
    ("iSept80", 2),
    ("iSex", 2),
    ("iSubfam1", 4),
    ("iSubfam2", 4),
    ("iTmpabsnt", 4),
    ("dTravtime", 7),
    ("iVietnam", 2),
    ("dWeek89", 3),
    ("iWork89", 3),
    ("iWorklwk", 3),
    ("iWWII", 2),
    ("iYearsch", 10),
    ("iYearwrk", 8),
    ("dYrsserv", 3),
];

const _: () = {
    let (mut columns, mut place) = (0, 0);
    while place < US_CENSUS_1990.len() {
        columns += US_CENSUS_1990[place].1;
        place += 1;
    }
    assert!(columns == 378, "as reported");
};

/// A case by its name.
pub fn named(name: &str) -> Option<Case> {
    let of = |customers: u64, cardinalities: &[usize]| Planting {
        customers,
        cardinalities: cardinalities.to_vec(),
        ..Planting::default()
    };
    // All features are combined, so that the work does not hang on what screening thinks of chance.
    Some(match name {
        "small" => Case { name: "small", planting: Planting::default(), settings: &[] },
        "syn1m" => Case {
            name: "syn1m",
            planting: of(1_000_000, &[6, 8, 6, 8, 5, 8, 10, 8, 7, 8, 8, 5, 10, 9, 10, 8, 8, 9, 8, 5]),
            settings: &["screen.off=true"],
        },
        "wide" => Case {
            name: "wide",
            planting: of(2_458_285, &US_CENSUS_1990.map(|(_, values)| values)),
            settings: &["screen.off=true", "enumerate.min_share=0.01"],
        },
        "deep" => Case {
            name: "deep",
            planting: of(1_000_000, &[8, 4, 7, 7, 8, 6, 5, 8, 7, 6, 6, 6]),
            settings: &["screen.off=true", "enumerate.max_level=5"],
        },
        "long" => Case {
            name: "long",
            planting: of(10_000_000, &[4, 4, 4, 8, 4, 4, 6, 4, 7, 5, 8, 6]),
            settings: &["screen.off=true"],
        },
        "tail" => Case {
            name: "tail",
            planting: of(1_000_000, &[20_000, 8, 6, 12, 5, 9, 4, 7, 10, 6]),
            settings: &["screen.off=true", "enumerate.min_uv=100"],
        },
        _ => return None,
    })
}

/// The case that only shows that the bench works, small enough for a build without optimisation.
pub fn tiny() -> Case {
    let planting = Planting { customers: 20_000, cardinalities: vec![6, 5, 4, 9, 7], niches: 2, ..Planting::default() };
    Case { name: "tiny", planting, settings: &["enumerate.max_level=2"] }
}

impl Case {
    /// The table in `folder`, planted unless it is there with the same settings.
    pub fn table(&self, folder: &Path) -> Result<PathBuf, PlantError> {
        let table = folder.join(format!("{}.parquet", self.name));
        // Written last: a table without it is not whole or not ours.
        let settings = folder.join(format!("{}.settings", self.name));
        let wanted = format!("{} {:?}\n", env!("CARGO_PKG_VERSION"), self.planting);
        if std::fs::read_to_string(&settings).is_ok_and(|found| found == wanted) && table.is_file() {
            return Ok(table);
        }
        eprintln!("planting {}", table.display());
        planted::plant(&self.planting, &table)?;
        std::fs::write(&settings, wanted).map_err(|source| PlantError::Write { path: settings, source })?;
        Ok(table)
    }
}
