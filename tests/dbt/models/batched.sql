{{ config(materialized='incremental', incremental_strategy='microbatch', event_time='started', begin='2024-05-01', batch_size='day', lookback=1, properties={'partitioning': "ARRAY['day(started)']"}) }}
select id, started, fare from {{ ref('paid') }}
