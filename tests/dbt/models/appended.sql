{{ config(materialized='incremental', incremental_strategy='append', on_schema_change='append_new_columns') }}
select id, started{% if is_incremental() %}, minutes{% endif %}
from {{ ref('paid') }}
{% if is_incremental() %}
where started > (select max(started) from {{ this }})
{% endif %}
