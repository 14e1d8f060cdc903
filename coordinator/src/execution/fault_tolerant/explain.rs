//! The stages of a plan as text: as they will run, and with what they measured.

use std::slice::Iter;
use std::sync::Arc;

use ballista_core::JobId;
use ballista_scheduler::planner::{DefaultDistributedPlanner, DistributedPlanner};
use ballista_scheduler::state::execution_graph::ExecutionGraphBox;
use ballista_scheduler::state::execution_stage::ExecutionStage;
use datafusion::config::ConfigOptions;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use datafusion::physical_plan::metrics::MetricsSet;
use nunatak_core::{Error, Result};

/// The stages that the scheduler will make of a plan, the last one first.
pub(super) fn planned(plan: Arc<dyn ExecutionPlan>, options: &ConfigOptions, verbose: bool) -> Result<String> {
    let stages = DefaultDistributedPlanner::new()
        .plan_query_stages(&JobId::from("explain".to_owned()), plan, options)
        .map_err(|error| Error::internal(format!("the plan cannot be cut into stages: {error}")))?;
    let text = |plan: &dyn ExecutionPlan| DisplayableExecutionPlan::new(plan).indent(verbose).to_string();
    Ok(joined(stages.iter().map(|stage| (stage.stage_id(), text(stage.as_ref()))).collect()))
}

/// The stages of a job that has ended, with what they measured, the last one first.
pub(super) fn measured(graph: &ExecutionGraphBox) -> String {
    let stages = graph.stages().iter().filter_map(|(id, stage)| match stage {
        ExecutionStage::Successful(stage) => Some((*id, with_metrics(stage.plan.as_ref(), &stage.stage_metrics))),
        _ => None,
    });
    joined(stages.collect())
}

/// The nodes of a plan, each with what it measured. Executors send nothing of nodes that measure nothing, which Ballista's own display does not reckon with.
fn with_metrics(plan: &dyn ExecutionPlan, metrics: &[MetricsSet]) -> String {
    fn add(plan: &dyn ExecutionPlan, depth: usize, metrics: &mut Iter<'_, MetricsSet>, text: &mut String) {
        let line = DisplayableExecutionPlan::new(plan).one_line().to_string();
        let measured = plan.metrics().and_then(|_| metrics.next());
        let measured = measured.map(|set| format!(", metrics=[{}]", set.aggregate_by_name().sorted_for_display().timestamps_removed()));
        text.push_str(&format!("{}{}{}\n", "  ".repeat(depth), line.trim_end(), measured.unwrap_or_default()));
        plan.children().into_iter().for_each(|child| add(child.as_ref(), depth + 1, metrics, text));
    }
    let mut text = String::new();
    add(plan, 0, &mut metrics.iter(), &mut text);
    text
}

fn joined(mut stages: Vec<(usize, String)>) -> String {
    stages.sort_by_key(|(id, _)| std::cmp::Reverse(*id));
    let texts: Vec<String> = stages.into_iter().map(|(id, text)| format!("Stage {id}:\n  {}", text.trim_end().replace('\n', "\n  "))).collect();
    texts.join("\n\n")
}
