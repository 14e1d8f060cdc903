{{ config(materialized='table', properties={'partitioning': "ARRAY['month(day)', 'bucket(station_id, 4)']", 'format': "'PARQUET'"}) }}
select day, station_id, count(*) as trips, sum(fare) as fares
from {{ ref('paid') }}
group by 1, 2
