{% macro with_tax(price, percent=25) -%}
    CAST(round({{ price }} * (1 + {{ percent }} / 100.00), 2) AS decimal(9, 2))
{%- endmacro %}
