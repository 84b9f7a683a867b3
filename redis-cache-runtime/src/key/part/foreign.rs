//! [`KeyPart`] for types of other crates, each with the feature of its name.
#![cfg(any(
    feature = "chrono",
    feature = "rust_decimal",
    feature = "time",
    feature = "uuid"
))]

use super::{KeyPart, KeyWriter, kind};

#[cfg(feature = "uuid")]
impl KeyPart for uuid::Uuid {
    fn write(&self, key: &mut KeyWriter<'_>) {
        key.text(
            self.hyphenated()
                .encode_lower(&mut uuid::Uuid::encode_buffer()),
        );
    }

    const KIND: u8 = kind::UUID;
}

/// Keeps `1.0` and `1.00` apart: they are equal, but a handler can show which one it got.
#[cfg(feature = "rust_decimal")]
impl KeyPart for rust_decimal::Decimal {
    fn write(&self, key: &mut KeyWriter<'_>) {
        key.display(self);
    }

    const KIND: u8 = kind::DECIMAL;
}

/// Dates and times as ISO 8601 has them.
#[cfg(any(feature = "chrono", feature = "time"))]
mod iso {
    use std::fmt;

    pub(super) struct Date {
        pub(super) year: i32,
        pub(super) month: u32,
        pub(super) day: u32,
    }

    impl fmt::Display for Date {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let Self { year, month, day } = self;
            write!(f, "{year:04}-{month:02}-{day:02}")
        }
    }

    pub(super) struct Time {
        pub(super) hour: u32,
        pub(super) minute: u32,
        pub(super) second: u32,
        /// At least a whole second in a leap second of chrono. Then it has ten digits.
        pub(super) nanosecond: u32,
    }

    impl fmt::Display for Time {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{:02}:{:02}:{:02}", self.hour, self.minute, self.second)?;
            match self.nanosecond {
                0 => Ok(()),
                nanosecond => write!(f, ".{nanosecond:09}"),
            }
        }
    }
}

#[cfg(feature = "chrono")]
mod of_chrono {
    use chrono::{
        DateTime, Datelike, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Timelike, Utc,
    };

    use super::{KeyPart, KeyWriter, iso, kind};

    fn date(date: NaiveDate) -> iso::Date {
        iso::Date {
            year: date.year(),
            month: date.month(),
            day: date.day(),
        }
    }

    fn time(time: NaiveTime) -> iso::Time {
        iso::Time {
            hour: time.hour(),
            minute: time.minute(),
            second: time.second(),
            nanosecond: time.nanosecond(),
        }
    }

    impl KeyPart for NaiveDate {
        fn write(&self, key: &mut KeyWriter<'_>) {
            key.display(date(*self));
        }

        const KIND: u8 = kind::CHRONO_DATE;
    }

    impl KeyPart for NaiveTime {
        fn write(&self, key: &mut KeyWriter<'_>) {
            key.display(time(*self));
        }

        const KIND: u8 = kind::CHRONO_TIME;
    }

    impl KeyPart for NaiveDateTime {
        fn write(&self, key: &mut KeyWriter<'_>) {
            key.display(format_args!("{}T{}", date(self.date()), time(self.time())));
        }

        const KIND: u8 = kind::CHRONO_DATE_TIME;
    }

    impl KeyPart for DateTime<Utc> {
        fn write(&self, key: &mut KeyWriter<'_>) {
            self.naive_utc().write(key);
        }

        const KIND: u8 = kind::CHRONO_UTC;
    }

    /// Writes the time in UTC, because the local time may be out of range, and the offset in seconds.
    impl KeyPart for DateTime<FixedOffset> {
        fn write(&self, key: &mut KeyWriter<'_>) {
            self.naive_utc().write(key);
            self.offset().local_minus_utc().write(key);
        }

        const KIND: u8 = kind::CHRONO_FIXED_OFFSET;
    }
}

#[cfg(feature = "time")]
mod of_time {
    use time::{Date, OffsetDateTime, PrimitiveDateTime, Time};

    use super::{KeyPart, KeyWriter, iso, kind};

    fn date(date: Date) -> iso::Date {
        iso::Date {
            year: date.year(),
            month: u8::from(date.month()).into(),
            day: date.day().into(),
        }
    }

    fn time(time: Time) -> iso::Time {
        iso::Time {
            hour: time.hour().into(),
            minute: time.minute().into(),
            second: time.second().into(),
            nanosecond: time.nanosecond(),
        }
    }

    impl KeyPart for Date {
        fn write(&self, key: &mut KeyWriter<'_>) {
            key.display(date(*self));
        }

        const KIND: u8 = kind::TIME_DATE;
    }

    impl KeyPart for Time {
        fn write(&self, key: &mut KeyWriter<'_>) {
            key.display(time(*self));
        }

        const KIND: u8 = kind::TIME_TIME;
    }

    impl KeyPart for PrimitiveDateTime {
        fn write(&self, key: &mut KeyWriter<'_>) {
            key.display(format_args!("{}T{}", date(self.date()), time(self.time())));
        }

        const KIND: u8 = kind::TIME_DATE_TIME;
    }

    /// Writes the local time, because that in UTC may be out of range, and the offset in seconds.
    impl KeyPart for OffsetDateTime {
        fn write(&self, key: &mut KeyWriter<'_>) {
            PrimitiveDateTime::new(self.date(), self.time()).write(key);
            self.offset().whole_seconds().write(key);
        }

        const KIND: u8 = kind::TIME_OFFSET;
    }
}
