//! Aggregate functions as data, and as DataFusion's.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, DocSection, Documentation, GroupsAccumulator, Signature, Volatility};

use super::collected::{Collected, collected_type};
use super::sliding::Sliding;
use crate::scalar::Returns;
use crate::signature::{Overload, resolve};

/// The types of one use of an aggregate function.
#[derive(Clone, Debug)]
pub(crate) struct Types {
    /// Those of the arguments, as the chosen signature has them.
    pub(crate) arguments: Vec<DataType>,
    /// That of the result.
    pub(crate) returns: DataType,
}

/// What makes the accumulator of a use.
pub(crate) type Start = fn(&Types) -> Result<Box<dyn Accumulator>>;

/// What makes an accumulator of many groups at once.
pub(crate) type StartGroups = fn(&Types) -> Result<Box<dyn GroupsAccumulator>>;

/// An aggregate function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aggregate {
    /// The name, in lower case.
    pub(crate) name: &'static str,
    /// Other names.
    pub(crate) aliases: &'static [&'static str],
    /// What it takes and returns, in the form of [`crate::signature`].
    pub(crate) signatures: &'static [&'static str],
    /// What it returns, where the signatures cannot say it.
    pub(crate) returns: Option<Returns>,
    /// The types of the columns that hold what was seen of a group, on the way from one stage to the next.
    pub(crate) state: fn(&Types) -> Result<Vec<DataType>>,
    /// What makes an accumulator. It may be asked for its value several times, in between more rows.
    pub(crate) start: Start,
    /// What makes an accumulator of many groups at once, where that is worth it.
    pub(crate) groups: Option<StartGroups>,
    /// What makes an accumulator that rows can be taken out of again, first those that came first; otherwise the rows of a frame are kept.
    pub(crate) sliding: Option<Start>,
    /// Whether rows are kept until the last stage, and the accumulator sees all of a group at once. Then it has no state.
    pub(crate) collects: bool,
    /// Whether the value of no rows is 0, and not NULL.
    pub(crate) zero_if_empty: bool,
    /// What it does, in one sentence.
    pub(crate) about: &'static str,
}

impl Aggregate {
    /// A function by its accumulator.
    pub(crate) const fn new(
        name: &'static str,
        signatures: &'static [&'static str],
        state: fn(&Types) -> Result<Vec<DataType>>,
        start: Start,
        about: &'static str,
    ) -> Self {
        Self {
            name,
            aliases: &[],
            signatures,
            returns: None,
            state,
            start,
            groups: None,
            sliding: None,
            collects: false,
            zero_if_empty: false,
            about,
        }
    }

    /// A function whose accumulator sees all rows of a group at once.
    pub(crate) const fn of_all_rows(name: &'static str, signatures: &'static [&'static str], start: Start, about: &'static str) -> Self {
        Self { collects: true, ..Self::new(name, signatures, |_| Ok(Vec::new()), start, about) }
    }

    /// The same with other names besides.
    pub(crate) const fn also(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    /// The same with a type of results that `returns` tells.
    pub(crate) const fn returning(self, returns: Returns) -> Self {
        Self { returns: Some(returns), ..self }
    }

    /// The same with an accumulator of many groups.
    pub(crate) const fn grouped(self, groups: StartGroups) -> Self {
        Self { groups: Some(groups), ..self }
    }

    /// The same with an accumulator that rows can be taken out of.
    pub(crate) const fn sliding(self, sliding: Start) -> Self {
        Self { sliding: Some(sliding), ..self }
    }

    /// The same with 0 for no rows.
    pub(crate) const fn or_zero(self) -> Self {
        Self { zero_if_empty: true, ..self }
    }
}

/// The function for DataFusion.
pub(super) fn function(definition: &'static Aggregate) -> Arc<AggregateUDF> {
    let overloads = definition.signatures.iter().filter_map(|text| Overload::parse(text)).collect();
    let aliases = definition.aliases.iter().map(|&alias| alias.to_owned()).collect();
    let signature = Signature::user_defined(Volatility::Immutable);
    let section = DocSection { include: true, label: "Aggregate functions", description: None };
    let documentation = Documentation::builder(section, definition.about, definition.name).build();
    Arc::new(AggregateUDF::new_from_impl(Function { definition, overloads, aliases, signature, documentation }))
}

#[derive(Clone, Debug)]
struct Function {
    definition: &'static Aggregate,
    overloads: Vec<Overload>,
    aliases: Vec<String>,
    signature: Signature,
    documentation: Documentation,
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.definition.name == other.definition.name
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.definition.name.hash(state);
    }
}

impl AggregateUDFImpl for Function {
    fn name(&self) -> &str {
        self.definition.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(resolve(self.definition.name, &self.overloads, &signed(types))?.arguments)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let resolved = resolve(self.definition.name, &self.overloads, &signed(types))?;
        match self.definition.returns {
            Some(returns) => returns(&resolved.arguments),
            None => Ok(resolved.result),
        }
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let types = types_of(&arguments);
        if !self.collects(arguments.is_distinct, arguments.order_bys.len()) {
            return (self.definition.start)(&types);
        }
        let order = arguments.order_bys.iter().map(|sort| Ok((sort.expr.data_type(arguments.schema)?, sort.options)));
        Ok(Box::new(Collected::new(self.definition, types, order.collect::<Result<_>>()?, arguments.is_distinct)?))
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let inputs: Vec<DataType> = arguments.input_fields.iter().map(|field| field.data_type().clone()).collect();
        let states = if self.collects(arguments.is_distinct, arguments.ordering_fields.len()) {
            vec![collected_type(&inputs, arguments.ordering_fields.iter().map(|field| field.data_type()))]
        } else {
            (self.definition.state)(&Types { arguments: inputs, returns: arguments.return_type().clone() })?
        };
        let field = |(index, data_type): (usize, DataType)| Arc::new(Field::new(format!("{}[{index}]", arguments.name), data_type, true));
        Ok(states.into_iter().enumerate().map(field).collect())
    }

    fn groups_accumulator_supported(&self, arguments: AccumulatorArgs<'_>) -> bool {
        self.definition.groups.is_some() && !self.collects(arguments.is_distinct, arguments.order_bys.len())
    }

    fn create_groups_accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        match self.definition.groups {
            Some(groups) => groups(&types_of(&arguments)),
            None => datafusion::common::internal_err!("{} has no accumulator of groups", self.definition.name),
        }
    }

    fn create_sliding_accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let types = types_of(&arguments);
        match self.definition.sliding {
            Some(sliding) if !arguments.is_distinct => sliding(&types),
            _ => Ok(Box::new(Sliding::new(self.definition, types, arguments.is_distinct))),
        }
    }

    /// What is collected is put in order in the end, whatever the order in which it came.
    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::SoftRequirement
    }

    fn with_beneficial_ordering(self: Arc<Self>, _beneficial_ordering: bool) -> Result<Option<Arc<dyn AggregateUDFImpl>>> {
        Ok(Some(self))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        if self.definition.zero_if_empty { ScalarValue::new_zero(data_type) } else { ScalarValue::try_from(data_type) }
    }
}

impl Function {
    fn collects(&self, is_distinct: bool, orders: usize) -> bool {
        self.definition.collects || is_distinct || orders > 0
    }
}

fn types_of(arguments: &AccumulatorArgs<'_>) -> Types {
    let inputs = arguments.expr_fields.iter().map(|field| field.data_type().clone()).collect();
    Types { arguments: inputs, returns: arguments.return_type().clone() }
}

/// DataFusion's own functions count without signs, and give durations for what lies between moments: SQL has no types for these.
fn signed(types: &[DataType]) -> Vec<DataType> {
    let signed = |data_type: &DataType| match data_type {
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 | DataType::UInt64 => DataType::Int64,
        DataType::Duration(_) => DataType::Interval(IntervalUnit::MonthDayNano),
        DataType::Dictionary(_, value) => value.as_ref().clone(),
        other => other.clone(),
    };
    types.iter().map(signed).collect()
}
