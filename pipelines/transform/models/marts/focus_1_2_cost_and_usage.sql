-- One row per charge, as FOCUS 1.2 writes it.
-- FOCUS 1.2 is what most tools read today.

with

charges as (

    select * from {{ ref('int_focus__charges') }}

),

final as (

    select
        billed_cost as "BilledCost",
        billing_account as "BillingAccountId",
        billing_account as "BillingAccountName",
        currency as "BillingCurrency",
        billing_period_end as "BillingPeriodEnd",
        billing_period_start as "BillingPeriodStart",
        charge_category as "ChargeCategory",
        charge_class as "ChargeClass",
        charge_description as "ChargeDescription",
        charge_frequency as "ChargeFrequency",
        charge_period_end as "ChargePeriodEnd",
        charge_period_start as "ChargePeriodStart",
        cast(null as {{ dbt.type_string() }}) as "CommitmentDiscountStatus",
        consumed_quantity as "ConsumedQuantity",
        consumed_unit as "ConsumedUnit",
        contracted_cost as "ContractedCost",
        contracted_unit_price as "ContractedUnitPrice",
        effective_cost as "EffectiveCost",
        invoice_id as "InvoiceId",
        provider_name as "InvoiceIssuerName",
        list_cost as "ListCost",
        list_unit_price as "ListUnitPrice",
        pricing_category as "PricingCategory",
        pricing_currency as "PricingCurrency",
        pricing_currency_contracted_unit_price as "PricingCurrencyContractedUnitPrice",
        pricing_currency_effective_cost as "PricingCurrencyEffectiveCost",
        pricing_currency_list_unit_price as "PricingCurrencyListUnitPrice",
        pricing_quantity as "PricingQuantity",
        pricing_unit as "PricingUnit",
        provider_name as "ProviderName",
        provider_name as "PublisherName",
        cast('AI and Machine Learning' as {{ dbt.type_string() }}) as "ServiceCategory",
        service_name as "ServiceName",
        service_subcategory as "ServiceSubcategory",
        sku_id as "SkuId",
        sku_meter as "SkuMeter",
        sku_price_details as "SkuPriceDetails",
        sku_price_id as "SkuPriceId",
        account as "SubAccountId",
        account as "SubAccountName",
        cast('{}' as {{ dbt.type_string() }}) as "Tags",
        charge_id as "x_ChargeId",
        grant_id as "x_GrantId",
        is_complete as "x_IsComplete",
        meter as "x_Meter",
        provider as "x_Provider"
    from charges

)

select * from final
