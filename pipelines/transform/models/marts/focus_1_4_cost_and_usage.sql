-- One row per charge, as FOCUS 1.4 writes it.
-- FOCUS 1.4 has the service provider and host instead of the provider and publisher of 1.2, and the lines of invoices.

with

charges as (

    select * from {{ ref('int_focus__charges') }}

),

final as (

    select
        billed_cost as {{ adapter.quote('BilledCost') }},
        billing_account as {{ adapter.quote('BillingAccountId') }},
        billing_account as {{ adapter.quote('BillingAccountName') }},
        currency as {{ adapter.quote('BillingCurrency') }},
        billing_period_end as {{ adapter.quote('BillingPeriodEnd') }},
        billing_period_start as {{ adapter.quote('BillingPeriodStart') }},
        charge_category as {{ adapter.quote('ChargeCategory') }},
        charge_class as {{ adapter.quote('ChargeClass') }},
        charge_description as {{ adapter.quote('ChargeDescription') }},
        charge_frequency as {{ adapter.quote('ChargeFrequency') }},
        charge_period_end as {{ adapter.quote('ChargePeriodEnd') }},
        charge_period_start as {{ adapter.quote('ChargePeriodStart') }},
        consumed_quantity as {{ adapter.quote('ConsumedQuantity') }},
        consumed_unit as {{ adapter.quote('ConsumedUnit') }},
        contracted_cost as {{ adapter.quote('ContractedCost') }},
        contracted_unit_price as {{ adapter.quote('ContractedUnitPrice') }},
        effective_cost as {{ adapter.quote('EffectiveCost') }},
        provider_name as {{ adapter.quote('HostProviderName') }},
        invoice_detail_id as {{ adapter.quote('InvoiceDetailId') }},
        invoice_id as {{ adapter.quote('InvoiceId') }},
        provider_name as {{ adapter.quote('InvoiceIssuerName') }},
        list_cost as {{ adapter.quote('ListCost') }},
        list_unit_price as {{ adapter.quote('ListUnitPrice') }},
        pricing_category as {{ adapter.quote('PricingCategory') }},
        pricing_currency as {{ adapter.quote('PricingCurrency') }},
        pricing_currency_contracted_unit_price as {{ adapter.quote('PricingCurrencyContractedUnitPrice') }},
        pricing_currency_effective_cost as {{ adapter.quote('PricingCurrencyEffectiveCost') }},
        pricing_currency_list_unit_price as {{ adapter.quote('PricingCurrencyListUnitPrice') }},
        pricing_quantity as {{ adapter.quote('PricingQuantity') }},
        pricing_unit as {{ adapter.quote('PricingUnit') }},
        cast('AI and Machine Learning' as {{ dbt.type_string() }}) as {{ adapter.quote('ServiceCategory') }},
        service_name as {{ adapter.quote('ServiceName') }},
        provider_name as {{ adapter.quote('ServiceProviderName') }},
        service_subcategory as {{ adapter.quote('ServiceSubcategory') }},
        sku_id as {{ adapter.quote('SkuId') }},
        sku_meter as {{ adapter.quote('SkuMeter') }},
        sku_price_details as {{ adapter.quote('SkuPriceDetails') }},
        sku_price_id as {{ adapter.quote('SkuPriceId') }},
        account as {{ adapter.quote('SubAccountId') }},
        account as {{ adapter.quote('SubAccountName') }},
        cast(tags as {{ dbt.type_string() }}) as {{ adapter.quote('Tags') }},
        charge_id as {{ adapter.quote('x_ChargeId') }},
        grant_id as {{ adapter.quote('x_GrantId') }},
        is_complete as {{ adapter.quote('x_IsComplete') }},
        meter as {{ adapter.quote('x_Meter') }},
        provider as {{ adapter.quote('x_Provider') }}
    from charges

)

select * from final
