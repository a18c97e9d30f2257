import django.contrib.postgres.indexes
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('auth', '__first__'),
    ]

    operations = [
        migrations.CreateModel(
            name='ApiToken',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=80, verbose_name='name')),
                ('prefix', models.CharField(editable=False, max_length=12, verbose_name='begins with')),
                ('key_hash', models.CharField(editable=False, max_length=64, unique=True)),
                ('scopes', models.JSONField(default=list, verbose_name='scopes')),
                ('created_at', models.DateTimeField(editable=False, verbose_name='created at')),
                ('last_used_at', models.DateTimeField(editable=False, null=True, verbose_name='last used at')),
                ('revoked_at', models.DateTimeField(blank=True, editable=False, null=True, verbose_name='revoked at')),
                ('created_by', models.ForeignKey(editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, to=settings.AUTH_USER_MODEL, verbose_name='created by')),
            ],
            options={
                'verbose_name': 'API token',
                'verbose_name_plural': 'API tokens',
            },
        ),
        migrations.CreateModel(
            name='DomainEvent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=80, verbose_name='event')),
                ('key', models.CharField(blank=True, max_length=80, verbose_name='about')),
                ('payload', models.JSONField(verbose_name='payload')),
                ('occurred_at', models.DateTimeField(verbose_name='occurred at')),
            ],
            options={
                'verbose_name': 'event',
                'verbose_name_plural': 'events',
                'indexes': [models.Index(condition=models.Q(('key', ''), _negated=True), fields=['key'], name='domain_event_by_key')],
            },
        ),
        migrations.CreateModel(
            name='LedgerAccount',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(max_length=40, verbose_name='kind')),
                ('owner_id', models.BigIntegerField(help_text='0: the house itself', verbose_name='owner')),
                ('balance', models.BigIntegerField(default=0, verbose_name='balance')),
                ('held', models.BigIntegerField(default=0, verbose_name='held')),
            ],
            options={
                'verbose_name': 'ledger account',
                'verbose_name_plural': 'ledger accounts',
                'constraints': [models.UniqueConstraint(fields=('kind', 'owner_id'), name='one_ledger_account_per_kind_and_owner'), models.CheckConstraint(condition=models.Q(('balance__gte', 0)), name='ledger_account_never_negative'), models.CheckConstraint(condition=models.Q(('held__gte', 0), ('held__lte', models.F('balance'))), name='ledger_account_holds_only_what_it_has'), models.CheckConstraint(condition=models.Q(('owner_id__gt', 0), models.Q(('balance', 0), ('held', 0)), _connector='OR'), name='system_ledger_account_keeps_no_balance')],
            },
        ),
        migrations.CreateModel(
            name='Job',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(max_length=60, verbose_name='kind')),
                ('params', models.JSONField(blank=True, default=dict, verbose_name='parameters')),
                ('status', models.CharField(choices=[('queued', 'queued'), ('running', 'running'), ('done', 'done'), ('failed', 'failed'), ('cancelled', 'cancelled')], default='queued', max_length=10, verbose_name='status')),
                ('total', models.BigIntegerField(blank=True, null=True, verbose_name='steps in total')),
                ('done', models.BigIntegerField(default=0, verbose_name='steps done')),
                ('checkpoint', models.JSONField(blank=True, default=dict, verbose_name='checkpoint')),
                ('result', models.JSONField(blank=True, default=dict, verbose_name='result')),
                ('error', models.TextField(blank=True, verbose_name='error')),
                ('attempts', models.PositiveSmallIntegerField(default=0, verbose_name='attempts')),
                ('lease_until', models.DateTimeField(blank=True, null=True, verbose_name='claimed until')),
                ('created_at', models.DateTimeField(verbose_name='created at')),
                ('started_at', models.DateTimeField(blank=True, null=True, verbose_name='started at')),
                ('finished_at', models.DateTimeField(blank=True, null=True, verbose_name='finished at')),
                ('created_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, to=settings.AUTH_USER_MODEL, verbose_name='created by')),
            ],
            options={
                'verbose_name': 'job',
                'verbose_name_plural': 'jobs',
                'indexes': [models.Index(condition=models.Q(('status__in', ['queued', 'running'])), fields=['lease_until'], name='job_open')],
            },
        ),
        migrations.CreateModel(
            name='LedgerTransfer',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('cause', models.CharField(max_length=120, verbose_name='cause')),
                ('amount', models.BigIntegerField(verbose_name='amount')),
                ('posted_at', models.DateTimeField(verbose_name='posted at')),
                ('credit', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='credits', to='core.ledgeraccount', verbose_name='to')),
                ('debit', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='debits', to='core.ledgeraccount', verbose_name='from')),
                ('reverses', models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='reversals', to='core.ledgertransfer', verbose_name='reverses')),
            ],
            options={
                'verbose_name': 'ledger transfer',
                'verbose_name_plural': 'ledger transfers',
                'indexes': [models.Index(condition=models.Q(('reverses__isnull', False)), fields=['reverses'], name='ledger_transfer_reversals'), django.contrib.postgres.indexes.BrinIndex(autosummarize=True, fields=['posted_at'], name='ledger_transfer_by_time', pages_per_range=32)],
                'constraints': [models.UniqueConstraint(fields=('cause',), name='ledger_transfer_happens_once_per_cause', opclasses=['varchar_pattern_ops']), models.CheckConstraint(condition=models.Q(('amount__gt', 0)), name='ledger_transfer_is_positive'), models.CheckConstraint(condition=models.Q(('debit', models.F('credit')), _negated=True), name='ledger_transfer_moves_between_two')],
            },
        ),
        migrations.CreateModel(
            name='ApiCall',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(max_length=80)),
                ('request_hash', models.CharField(max_length=64)),
                ('status', models.PositiveSmallIntegerField(null=True)),
                ('body', models.JSONField(null=True)),
                ('whole_phones', models.PositiveIntegerField(db_default=0, default=0)),
                ('created_at', models.DateTimeField(db_index=True)),
                ('token', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to='core.apitoken')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('token', 'key'), name='api_call_happens_once_per_key')],
            },
        ),
        migrations.CreateModel(
            name='EventDelivery',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('handler', models.CharField(max_length=160, verbose_name='handler')),
                ('queue', models.CharField(max_length=20, verbose_name='queue')),
                ('status', models.CharField(choices=[('pending', 'pending'), ('done', 'done'), ('dead', 'given up')], default='pending', max_length=8, verbose_name='status')),
                ('attempts', models.PositiveSmallIntegerField(default=0, verbose_name='attempts')),
                ('next_attempt_at', models.DateTimeField(verbose_name='next attempt at')),
                ('last_error', models.TextField(blank=True, verbose_name='last error')),
                ('done_at', models.DateTimeField(null=True, verbose_name='done at')),
                ('event', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='deliveries', to='core.domainevent', verbose_name='event')),
            ],
            options={
                'verbose_name': 'event delivery',
                'verbose_name_plural': 'event deliveries',
                'indexes': [models.Index(condition=models.Q(('status', 'pending')), fields=['next_attempt_at', 'id'], name='event_delivery_due'), models.Index(condition=models.Q(('status', 'dead')), fields=['id'], name='event_delivery_dead')],
                'constraints': [models.UniqueConstraint(fields=('event', 'handler'), name='event_reaches_a_handler_once')],
            },
        ),
        migrations.CreateModel(
            name='LedgerHold',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('cause', models.CharField(max_length=120, verbose_name='cause')),
                ('amount', models.BigIntegerField(verbose_name='amount')),
                ('status', models.CharField(choices=[('open', 'open'), ('captured', 'captured'), ('released', 'released')], default='open', max_length=8, verbose_name='status')),
                ('placed_at', models.DateTimeField(verbose_name='placed at')),
                ('closed_at', models.DateTimeField(blank=True, null=True, verbose_name='closed at')),
                ('account', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='holds', to='core.ledgeraccount', verbose_name='account')),
            ],
            options={
                'verbose_name': 'ledger hold',
                'verbose_name_plural': 'ledger holds',
                'constraints': [models.UniqueConstraint(fields=('cause',), name='ledger_hold_is_placed_once_per_cause', opclasses=['varchar_pattern_ops']), models.CheckConstraint(condition=models.Q(('amount__gt', 0)), name='ledger_hold_is_positive')],
            },
        ),
        migrations.CreateModel(
            name='LedgerLot',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('amount', models.BigIntegerField(verbose_name='amount')),
                ('remaining', models.BigIntegerField(verbose_name='remaining')),
                ('expires_at', models.DateTimeField(blank=True, null=True, verbose_name='expires at')),
                ('account', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='lots', to='core.ledgeraccount', verbose_name='account')),
                ('transfer', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='lot', to='core.ledgertransfer', verbose_name='credited by')),
            ],
            options={
                'verbose_name': 'ledger lot',
                'verbose_name_plural': 'ledger lots',
                'indexes': [models.Index(condition=models.Q(('remaining__gt', 0)), fields=['account', 'expires_at', 'id'], name='ledger_lot_open'), models.Index(condition=models.Q(('remaining__gt', 0)), fields=['expires_at'], name='ledger_lot_expiring')],
                'constraints': [models.CheckConstraint(condition=models.Q(('remaining__gte', 0), ('remaining__lte', models.F('amount'))), name='ledger_lot_remains_within_amount')],
            },
        ),
        migrations.CreateModel(
            name='LedgerLotUse',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('amount', models.BigIntegerField(verbose_name='amount')),
                ('lot', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='uses', to='core.ledgerlot', verbose_name='lot')),
                ('transfer', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='lot_uses', to='core.ledgertransfer', verbose_name='spent by')),
            ],
            options={
                'verbose_name': 'lot use',
                'verbose_name_plural': 'lot uses',
                'constraints': [models.CheckConstraint(condition=models.Q(('amount', 0), _negated=True), name='ledger_lot_use_is_not_empty')],
            },
        ),
    ]
