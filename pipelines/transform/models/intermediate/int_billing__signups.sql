-- One row per provider, billing account and sign-up term: a fee or credit that the vendor states for every customer.

with

billing_accounts as (

    select * from {{ ref('stg_billing__accounts') }}

),

signup_terms as (

    select * from {{ ref('signup_terms') }}

),

-- Several accounts may share a billing account, which signed up once.
signed_up as (

    select
        provider,
        billing_account,
        min(signed_up_on) as signed_up_on
    from billing_accounts
    where signed_up_on is not null
    group by provider, billing_account

),

final as (

    select
        signed_up.provider,
        signed_up.billing_account,
        signup_terms.term_id,
        signup_terms.kind,
        signup_terms.description,
        signup_terms.amount,
        signup_terms.currency,
        signed_up.signed_up_on
    from signed_up
    inner join signup_terms
        on signed_up.provider = signup_terms.provider

)

select * from final
