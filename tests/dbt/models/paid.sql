{{ config(materialized='view') }}
select
    id,
    station_id,
    started,
    cast({{ dbt.date_trunc('day', 'started') }} as date) as day,
    minutes,
    {{ with_tax('coalesce(fare, 0)') }} as fare,
    {{ dbt.safe_cast('member', 'varchar') }} as member
from {{ ref('recent') }}
