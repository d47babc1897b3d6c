//! Hours of the week at a place, such as `mon-fri 08:00-18:00 Europe/Vienna`. The place's clock is turned as its law says.

use std::{fmt, str::FromStr};

use jiff::{
    Timestamp,
    tz::{TimeZone, TimeZoneDatabase},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use usher_types::UnixTime;

const MINUTES_OF_DAY: u16 = 24 * 60;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Days, from when until when, and in which time zone of the IANA database. Hours that end before they begin end on the next
/// day.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hours {
    /// From Monday on.
    days: [bool; 7],
    /// Minutes since midnight, the first that counts.
    from: u16,
    /// The first that does not count any more.
    to: u16,
    zone: TimeZone,
    /// As it was written.
    text: String,
}

/// Text that is no such hours.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ParseHoursError {
    /// The days.
    #[error("days are written mon, mon-fri, mon,wed,fri or daily")]
    Days,
    /// The parts.
    #[error("expected DAYS FROM-TO ZONE, such as `mon-fri 08:00-18:00 Europe/Vienna`")]
    Form,
    /// The times.
    #[error("times are written 08:00-18:00, from 00:00 to 24:00, and may not be the same")]
    Times,
    /// The time zone.
    #[error("the time zone is `UTC` or a name of the IANA database such as `Europe/Vienna`")]
    Zone,
}

impl Hours {
    /// Whether `now` is one of them.
    #[must_use]
    pub fn contain(&self, now: UnixTime) -> bool {
        // A time that no calendar has is in no hours.
        let Ok(now) = Timestamp::from_millisecond(now.as_millis()) else { return false };
        let local = self.zone.to_datetime(now);
        let minute = u16::from(local.hour().unsigned_abs())
            .saturating_mul(60)
            .saturating_add(u16::from(local.minute().unsigned_abs()));
        let today = usize::from(local.weekday().to_monday_zero_offset().unsigned_abs());
        let yesterday = today.checked_sub(1).unwrap_or(6);
        let counts = |day: usize| self.days.get(day).copied().unwrap_or(false);
        if self.from < self.to {
            counts(today) && (self.from..self.to).contains(&minute)
        } else {
            (counts(today) && minute >= self.from) || (counts(yesterday) && minute < self.to)
        }
    }
}

impl FromStr for Hours {
    type Err = ParseHoursError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split(' ').collect();
        let [days, times, zone] = parts.as_slice() else { return Err(ParseHoursError::Form) };
        let (from, to) = times.split_once('-').ok_or(ParseHoursError::Times)?;
        let (from, to) = (minutes(from)?, minutes(to)?);
        if from == to || from == MINUTES_OF_DAY {
            return Err(ParseHoursError::Times);
        }
        let zone = zone_named(zone)?;
        Ok(Self { days: parse_days(days)?, from, to, zone, text: text.to_owned() })
    }
}

/// What is in the program, not what the machine has: all brokers of a team decide alike.
pub(crate) fn zone_named(name: &str) -> Result<TimeZone, ParseHoursError> {
    if name == "UTC" {
        return Ok(TimeZone::UTC);
    }
    TimeZoneDatabase::bundled().get(name).map_err(|_error| ParseHoursError::Zone)
}

/// A day's word, counted from Monday.
pub(crate) fn day(from_monday: i8) -> Option<&'static str> {
    usize::try_from(from_monday).ok().and_then(|day| DAYS.get(day)).copied()
}

fn minutes(text: &str) -> Result<u16, ParseHoursError> {
    let two_digits = |text: &str| {
        let good = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        if good {
            text.parse::<u16>().map_err(|_error| ParseHoursError::Times)
        } else {
            Err(ParseHoursError::Times)
        }
    };
    let (hours, minutes) = text.split_once(':').ok_or(ParseHoursError::Times)?;
    let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
    let all = hours.saturating_mul(60).saturating_add(minutes);
    if minutes < 60 && all <= MINUTES_OF_DAY { Ok(all) } else { Err(ParseHoursError::Times) }
}

fn parse_days(text: &str) -> Result<[bool; 7], ParseHoursError> {
    if text == "daily" {
        return Ok([true; 7]);
    }
    let place = |name: &str| DAYS.iter().position(|day| *day == name).ok_or(ParseHoursError::Days);
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (place(first)?, place(last)?);
        let chosen = days.get_mut(first..=last).ok_or(ParseHoursError::Days)?;
        chosen.fill(true);
    }
    Ok(days)
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hours").field(&self.text).finish()
    }
}

impl TryFrom<String> for Hours {
    type Error = ParseHoursError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Hours> for String {
    fn from(hours: Hours) -> Self {
        hours.text
    }
}
