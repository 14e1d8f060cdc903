{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key=['day', 'station_id'], on_schema_change='sync_all_columns') }}
select day, station_id, sum(minutes) as minutes
{%- if is_incremental() %}, count(*) as trips{% else %}, 'x' as note{% endif %}
from {{ ref('paid') }}
{% if is_incremental() %}
where day >= (select max(day) from {{ this }})
{% endif %}
group by 1, 2
