from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('shop', '0002_stock_functions'),
    ]

    operations = [
        migrations.AddField(
            model_name='importrun',
            name='currency',
            field=models.CharField(default='CNY', help_text="Of the file's amounts; nothing is converted.", max_length=3, verbose_name='currency'),
        ),
        migrations.AddField(
            model_name='order',
            name='currency',
            field=models.CharField(db_default='CNY', default='CNY', help_text='Amounts are its smallest unit: fen, or cents and pence of history brought in.', max_length=3, verbose_name='currency'),
        ),
    ]
