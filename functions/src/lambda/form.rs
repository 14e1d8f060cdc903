//! Ways to call a function that takes functions: `(array(T), S, function(S, T, S), function(S, R)) -> R`. Types are those of [`crate::signature`]; the last one of
//! `function(..)` is what the function gives.
//!
//! What a function gives is converted to what it should where nothing is lost by that. Where it stands for a type that a value has already, as `S` above, it may be
//! that the value becomes what the function gives: the sum that begins with 0 is a double where the elements are.

use arrow::datatypes::DataType;
use datafusion::logical_expr::ValueOrLambda;

use crate::signature::{Bindings, Pattern, common_type, conversion, split, within};

#[derive(Debug)]
pub(super) struct Form {
    arguments: Vec<Argument>,
    result: Pattern,
}

#[derive(Debug)]
enum Argument {
    Value(Pattern),
    Function { takes: Vec<Pattern>, gives: Pattern },
}

/// The types of a call.
#[derive(Debug, PartialEq)]
pub(super) struct Found {
    /// Those to which its values are converted.
    pub(super) values: Vec<DataType>,
    /// Those of the parameters of each function.
    pub(super) parameters: Vec<Vec<DataType>>,
    /// Whether what a function gives is to be asked for before all types are known.
    pub(super) open: Vec<bool>,
    pub(super) result: DataType,
}

impl Form {
    /// Reads one; `None` if it has another form.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (arguments, result) = text.rsplit_once("->")?;
        let inner = arguments.trim().strip_prefix('(')?.strip_suffix(')')?;
        let arguments = split(inner).into_iter().map(Argument::parse).collect::<Option<_>>()?;
        Some(Self { arguments, result: Pattern::parse(result)? })
    }

    fn bound(&self, types: &[DataType]) -> Option<Bindings> {
        let values = self.arguments.iter().filter_map(Argument::value);
        if values.clone().count() != types.len() {
            return None;
        }
        let mut bindings = Bindings::new();
        values.zip(types).try_for_each(|(pattern, data_type)| pattern.bind(data_type, &mut bindings))?;
        Some(bindings)
    }

    /// The types to which values of these types are converted; `None` if it does not take them.
    pub(super) fn values(&self, types: &[DataType]) -> Option<Vec<DataType>> {
        self.converted(types, &self.bound(types)?)
    }

    fn converted(&self, types: &[DataType], bindings: &Bindings) -> Option<Vec<DataType>> {
        let targets = self.arguments.iter().filter_map(Argument::value).zip(types).map(|(pattern, data_type)| {
            let target = pattern.target(data_type, bindings)?;
            conversion(data_type, &target).map(|_| target)
        });
        targets.collect()
    }

    /// The types of a call with values of these types, and functions that give these, as far as that is known; `None` if it does not take them.
    pub(super) fn find(&self, arguments: &[ValueOrLambda<DataType, Option<DataType>>]) -> Option<Found> {
        if arguments.len() != self.arguments.len() {
            return None;
        }
        let types =
            arguments.iter().filter_map(|argument| if let ValueOrLambda::Value(data_type) = argument { Some(data_type.clone()) } else { None });
        let types: Vec<DataType> = types.collect();
        let mut bindings = self.bound(&types)?;
        let mut open = Vec::new();
        for (argument, given) in self.arguments.iter().zip(arguments) {
            match (argument, given) {
                (Argument::Value(_), ValueOrLambda::Value(_)) => {}
                (Argument::Function { gives, .. }, ValueOrLambda::Lambda(Some(given))) => {
                    open.push(false);
                    learn(gives, given, &mut bindings)?;
                }
                (Argument::Function { gives, .. }, ValueOrLambda::Lambda(None)) => {
                    open.push(matches!(gives, Pattern::Variable(letter) if bindings.contains_key(letter) || self.is_value(*letter)));
                }
                _ => return None,
            }
        }
        let parameters = self.arguments.iter().filter_map(|argument| match argument {
            Argument::Value(_) => None,
            Argument::Function { takes, .. } => {
                Some(takes.iter().map(|pattern| Some(within(&pattern.target(&DataType::Null, &bindings)?))).collect::<Option<Vec<_>>>())
            }
        });
        Some(Found {
            parameters: parameters.collect::<Option<_>>()?,
            open,
            values: self.converted(&types, &bindings)?,
            result: self.result.target(&DataType::Null, &bindings)?,
        })
    }

    /// Whether a letter is the type of a value.
    fn is_value(&self, letter: char) -> bool {
        self.arguments.iter().any(|argument| matches!(argument, Argument::Value(Pattern::Variable(other)) if *other == letter))
    }
}

impl Argument {
    fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("function(").and_then(|rest| rest.strip_suffix(')')) {
            Some(inner) => {
                let mut takes = split(inner).into_iter().map(Pattern::parse).collect::<Option<Vec<_>>>()?;
                let gives = takes.pop()?;
                Some(Self::Function { takes, gives })
            }
            None => Some(Self::Value(Pattern::parse(text)?)),
        }
    }

    fn value(&self) -> Option<&Pattern> {
        match self {
            Self::Value(pattern) => Some(pattern),
            Self::Function { .. } => None,
        }
    }
}

/// Learns from what a function gives; `None` if that cannot be.
fn learn(pattern: &Pattern, given: &DataType, bindings: &mut Bindings) -> Option<()> {
    let Pattern::Variable(letter) = pattern else {
        let wanted = pattern.target(given, bindings)?;
        return if *given == DataType::Null { None } else { conversion(given, &wanted).map(|_| ()) };
    };
    let known = match bindings.get(letter) {
        None => given.clone(),
        Some(known) if known == given => return Some(()),
        // Digits of decimals would be lost, or become more with each step.
        Some(known) if conversion(given, known).is_some() && !matches!(given, DataType::Decimal128(..)) => return Some(()),
        Some(_) if matches!(given, DataType::Decimal128(..)) => return None,
        Some(known) => common_type(known, given)?,
    };
    bindings.insert(*letter, known);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(data_type: DataType) -> ValueOrLambda<DataType, Option<DataType>> {
        ValueOrLambda::Value(data_type)
    }

    fn gives(data_type: DataType) -> ValueOrLambda<DataType, Option<DataType>> {
        ValueOrLambda::Lambda(Some(data_type))
    }

    #[test]
    fn functions_say_what_their_letters_are() {
        let form = Form::parse("(array(T), function(T, U)) -> array(U)").unwrap();
        let list = DataType::new_list(DataType::Utf8, true);
        assert_eq!(form.values(std::slice::from_ref(&list)), Some(vec![list.clone()]));
        let found = form.find(&[value(list.clone()), ValueOrLambda::Lambda(None)]).unwrap();
        assert_eq!((found.parameters, found.open), (vec![vec![DataType::Utf8]], vec![false]));
        assert_eq!(form.find(&[value(list.clone()), gives(DataType::Int64)]).unwrap().result, DataType::new_list(DataType::Int64, true));
        assert_eq!(form.find(&[value(list), value(DataType::Int64)]), None);
        assert_eq!(form.find(&[value(DataType::Int64), gives(DataType::Int64)]), None);
    }

    #[test]
    fn conditions_are_boolean() {
        let form = Form::parse("(array(T), function(T, boolean)) -> array(T)").unwrap();
        let list = || value(DataType::new_list(DataType::Int64, true));
        assert!(form.find(&[list(), gives(DataType::Boolean)]).is_some());
        assert!(form.find(&[list(), gives(DataType::Int64)]).is_none() && form.find(&[list(), gives(DataType::Null)]).is_none());
    }

    #[test]
    fn a_state_becomes_what_is_made_of_it() {
        let form = Form::parse("(array(T), S, function(S, T, S), function(S, R)) -> R").unwrap();
        let call = |state: DataType, merge: Option<DataType>, finish: Option<DataType>| {
            let list = value(DataType::new_list(DataType::Float64, true));
            form.find(&[list, value(state), ValueOrLambda::Lambda(merge), ValueOrLambda::Lambda(finish)])
        };
        let first = call(DataType::Int64, None, None).unwrap();
        assert_eq!((first.open, first.parameters[0].clone()), (vec![true, false], vec![DataType::Int64, DataType::Float64]));
        let second = call(DataType::Int64, Some(DataType::Float64), None).unwrap();
        assert_eq!((second.open, second.values[1].clone()), (vec![false, false], DataType::Float64));
        assert_eq!(second.parameters, [vec![DataType::Float64, DataType::Float64], vec![DataType::Float64]]);
        assert_eq!(call(DataType::Float64, Some(DataType::Float64), Some(DataType::Utf8)).unwrap().result, DataType::Utf8View);
        assert!(call(DataType::Null, None, None).unwrap().open[0]);
        assert!(call(DataType::Decimal128(2, 1), Some(DataType::Decimal128(3, 1)), None).is_none());
    }
}
