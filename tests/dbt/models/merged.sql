{{ config(materialized='incremental', incremental_strategy='merge', unique_key='id', properties={'partitioning': "ARRAY['day']"}) }}
select id, day, minutes, fare, date '{{ var("now") }}' as loaded
from {{ ref('paid') }}
{% if is_incremental() %}
where day >= (select max(day) from {{ this }})
{% endif %}
